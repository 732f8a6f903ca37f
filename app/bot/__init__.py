"""All code that imports botbuilder: activities in, replies and proactive messages out."""

from app.bot.sdk.lazy_dependencies import install

install()
