from __future__ import annotations

import pytest

from app.bot.auth.bot_identity import BotIdentity
from app.bot.auth.service_url import ServiceUrls, UntrustedServiceUrlError
from app.settings.bot_settings import BotCloud
from tests.fakes.auth_setup import APP

HOSTS = {
    "public": [
        "https://smba.trafficmanager.net/emea/",
        "https://smba.trafficmanager.net:443/teams/",
        "https://SMBA.trafficmanager.net/teams",
        "https://smba.onyx.prod.teams.trafficmanager.net/",
        "https://smba.infra.gcc.teams.microsoft.com/gcc/",
        "https://webchat.botframework.com/",
        "https://directline.botframework.com",
        "https://europe.webchat.botframework.com/",
    ],
    "gcc-high": ["https://smba.infra.gov.teams.microsoft.us/gcch/", "https://directline.botframework.azure.us/"],
    "dod": ["https://smba.infra.dod.teams.microsoft.us/dod/", "https://webchat.botframework.azure.us/"],
}
CLOUDS: list[BotCloud] = ["public", "gcc-high", "dod"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_cloud_trusts_its_own_hosts_and_none_of_the_others(cloud: BotCloud) -> None:
    service_urls = ServiceUrls(BotIdentity(APP, cloud=cloud))
    for url in HOSTS[cloud]:
        assert service_urls.check(url) == url
    shared = {"gcc-high": HOSTS["dod"][1:], "dod": HOSTS["gcc-high"][1:], "public": []}[cloud]
    for url in (url for other in CLOUDS if other != cloud for url in HOSTS[other] if url not in shared):
        with pytest.raises(UntrustedServiceUrlError):
            service_urls.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://smba.trafficmanager.net/emea/",
        "https://evil-botframework.com/",
        "https://botframework.com.evil.example/",
        "https://evil.trafficmanager.net/",
        "https://smba.trafficmanager.net.evil.example/",
        "https://smba.trafficmanager.net@evil.example/",
        "https://user:password@smba.trafficmanager.net/",
        "https://evil.example\\@smba.trafficmanager.net/",
        "https://evil.example#@smba.trafficmanager.net/",
        "https://evil.example?.botframework.com/",
        "https://smba.trafficmanager.net:8443/",
        "https://smba.trafficmanager.net:443@evil.example/",
        "https://smba.trafficmanager.net:/",
        "https://smba.trafficmanager.net./",
        "https://smba.trafficmanager.net/?x=1",
        "https://smba.trafficmanager.net/\r\nHost: evil.example",
        " https://smba.trafficmanager.net/",
        "https://smba.trafficmanager.net/ ",
        "https:/smba.trafficmanager.net/",
        "//smba.trafficmanager.net/",
        "https://botframework。com/",
        "https://ѕmba.trafficmanager.net/",
        "https://169.254.169.254/",
        "https://[::1]/",
        "https://localhost/",
        "https://.botframework.com.evil.example/",
        "https://smba.trafficmanager.net/" + "a" * 3000,
        "file:///etc/passwd",
        "",
        None,
        5,
    ],
)
def test_urls_that_only_look_like_the_bot_framework_are_refused(url: object) -> None:
    with pytest.raises(UntrustedServiceUrlError):
        ServiceUrls(BotIdentity(APP)).check(url)
