"""Who is told of an incident besides chats and mail: webhooks, Slack, PagerDuty."""
