"""What people read when they say which jobs a chat watches."""

from __future__ import annotations

from typing import Final

from app.translation import Sentence

USAGE: Final = Sentence(
    "Type **/watch** and the name or id of a job, and I will post here when it fails, with the likely "
    "cause. **/unwatch** stops that, and **/jobs** lists what this chat watches."
)
NOT_HERE: Final = Sentence(
    "I cannot post here on my own. Please use **/watch** in our chat in Teams, or in a group or channel."
)
WORKSPACE_UNAVAILABLE: Final = Sentence("Databricks did not answer. Please try again in a minute.")
NO_SUCH_JOB: Final = Sentence("I found no job **{job}** that you may see. You can also give its id: `/watch 123`.")
WHICH_JOB: Final = Sentence("There are several jobs named **{job}**. Which one?")
TOO_MANY: Final = Sentence("This chat watches {count} jobs already, which is the limit. Please **/unwatch** one first.")
WATCHED: Final = Sentence("Done. I will post here when **{job}** fails.")
WATCHED_ALREADY: Final = Sentence("This chat already watches **{job}**.")
UNWATCHED: Final = Sentence("Done. I will no longer post here about **{job}**.")
NOT_WATCHED: Final = Sentence("This chat does not watch **{job}**. **/jobs** lists what it watches.")
NONE_WATCHED: Final = Sentence("This chat watches no jobs.")
LISTED: Final = Sentence("This chat watches:")
UNWATCH: Final = Sentence("Unwatch {job}")
UNWATCH_ONE: Final = Sentence("Unwatch")
NOTHING_OPEN: Final = Sentence("No open failures")
JOB: Final = Sentence("Job")
STATE: Final = Sentence("State")
CAUSE: Final = Sentence("Cause")
SINCE: Final = Sentence("Since")
