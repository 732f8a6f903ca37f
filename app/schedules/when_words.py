"""The words in which people say when, in the languages of the manifest, in lower case."""

from __future__ import annotations

from typing import Final

WEEKDAYS: Final[dict[str, int]] = {
    word: number
    for number, words in enumerate(
        (
            "monday mondays mon montag montags lundi lundis lunes",
            "tuesday tuesdays tue dienstag dienstags mardi mardis martes",
            "wednesday wednesdays wed mittwoch mittwochs mercredi mercredis miércoles miercoles",
            "thursday thursdays thu donnerstag donnerstags jeudi jeudis jueves",
            "friday fridays fri freitag freitags vendredi vendredis viernes",
            "saturday saturdays sat samstag samstags sonnabend samedi samedis sábado sábados sabado",
            "sunday sundays sun sonntag sonntags dimanche dimanches domingo domingos",
        )
    )
    for word in words.split()
}

UNITS: Final[dict[str, str]] = {
    word: unit
    for unit, words in {
        "day": "day daily everyday tag täglich jour jours día días dia dias diario diariamente",
        "workday": "weekday weekdays workday workdays werktag werktags werktage wochentags ouvré ouvrés ouvrable "
        "laborable laborables",
        "week": "week weekly woche wöchentlich semaine semana semanas",
        "month": "month monthly monat monats monatlich mois mes meses",
        "hour": "hour hourly stunde stündlich heure heures hora horas",
        "noon": "noon midday mittag mittags midi mediodía mediodia",
        "midnight": "midnight mitternacht minuit medianoche",
        "pm": "pm",
        "am": "am",
    }.items()
    for word in words.split()
}

ORDINALS: Final = frozenset({"st", "nd", "rd", "th", "er", "º", "o"})

# Words that change nothing, and those around a condition.
_FILLERS = (
    "every each on at the of and in a o clock around um jeden jede jeder jedes den der des dem ab uhr und im chaque "
    "tous toutes le la les de du à et h cada todos todas el los las en y al tell me when if it is only notify let know "
    "wenn falls sag sage mir es er sie ist nur quand lorsque si dis moi c est que cuando avísame dime sea está per "
    "value number result become becomes gets goes"
)
FILLERS: Final = frozenset(_FILLERS.split())
EVERY: Final = frozenset(["every", "each", "jeden", "jede", "jeder", "jedes", "cada", "chaque", "les", "los", "las"])

# What is replaced before words are looked for; Japanese has no spaces between them.
PHRASES: Final = (
    ("more than", " above "), ("greater than", " above "), ("less than", " below "), ("fewer than", " below "),
    ("größer als", " above "), ("mehr als", " above "), ("kleiner als", " below "), ("weniger als", " below "),
    ("au-dessus de", " above "), ("plus de", " above "), ("en dessous de", " below "), ("moins de", " below "),
    ("por encima de", " above "), ("más de", " above "), ("por debajo de", " below "), ("menos de", " below "),
    ("a.m.", "am"), ("p.m.", "pm"),
    ("毎日", " daily "), ("毎週", " every "), ("毎月", " monthly "), ("毎時", " hourly "), ("平日", " workday "),
    ("月曜日", " monday "), ("火曜日", " tuesday "), ("水曜日", " wednesday "), ("木曜日", " thursday "),
    ("金曜日", " friday "), ("土曜日", " saturday "), ("日曜日", " sunday "),
    ("月曜", " monday "), ("火曜", " tuesday "), ("水曜", " wednesday "), ("木曜", " thursday "),
    ("金曜", " friday "), ("土曜", " saturday "), ("日曜", " sunday "),
    ("午前", " am "), ("午後", " pm "), ("時半", ":30 "), ("時", " uhr "), ("分", " "), ("日", "th "),
    ("に", " "), ("の", " "),
)  # fmt: skip

ABOVE: Final = ("above", "over", "exceeds", "über", "supera", "dépasse", ">")
BELOW: Final = ("below", "under", "unter", "<")
