"""What people read when they say which jobs a chat watches."""

from __future__ import annotations

from typing import Final

from app.translation import Sentence

USAGE: Final = Sentence(
    "Write **/watch** and the name or the id of a job, and I write here when it fails, with what I think is the cause. "
    "**/unwatch** ends that, **/jobs** lists what is watched."
)
NOT_HERE: Final = Sentence(
    "I cannot write here without being asked. Please use **/watch** in our chat in Teams, or in a group or channel."
)
WORKSPACE_UNAVAILABLE: Final = Sentence("Databricks did not answer. Please try again in a minute.")
NO_SUCH_JOB: Final = Sentence("I find no job **{job}** that you may see. Its id always works: `/watch 123`.")
WHICH_JOB: Final = Sentence("There are several jobs **{job}**. Which one?")
TOO_MANY: Final = Sentence("This chat watches {count} jobs, and may watch no more. Please **/unwatch** one first.")
WATCHED: Final = Sentence("Done. I write here when **{job}** fails.")
WATCHED_ALREADY: Final = Sentence("This chat watches **{job}** already.")
UNWATCHED: Final = Sentence("Done. I no longer write here about **{job}**.")
NOT_WATCHED: Final = Sentence("This chat does not watch **{job}**. **/jobs** lists what it watches.")
NONE_WATCHED: Final = Sentence("This chat watches no job.")
LISTED: Final = Sentence("This chat watches:")
UNWATCH: Final = Sentence("Unwatch {job}")
UNWATCH_ONE: Final = Sentence("Unwatch")
NOTHING_OPEN: Final = Sentence("Nothing is open")
JOB: Final = Sentence("Job")
STATE: Final = Sentence("State")
CAUSE: Final = Sentence("Cause")
SINCE: Final = Sentence("Since")
