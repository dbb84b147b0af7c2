"""django-oauth-toolkit in its fastest honest setting: only what a refresh and an introspection need.

No sessions, no templates; kept database connections; the client's secret stored as it is, for
hashing it as a password costs a tenth of a second a call. Tokens stay durable in PostgreSQL, as ours do.
"""

import json
import os
from pathlib import Path

PLACE = json.loads(Path(os.environ["BENCH_PEER"]).read_text())

SECRET_KEY = PLACE["secret"]
ALLOWED_HOSTS = ["127.0.0.1"]
DEBUG = False
USE_TZ = True
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]  # it says how long an answer is
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING_CONFIG = None
SILENCED_SYSTEM_CHECKS = ["models.W042"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": PLACE["database_port"],
        "NAME": "peer",
        "USER": PLACE["database_user"],
        "OPTIONS": {
            "sslmode": "verify-full",
            "sslrootcert": PLACE["database_ca"],
            "sslcert": PLACE["database_certificate"],
            "sslkey": PLACE["database_key"],
            "pool": {"min_size": 4, "max_size": 8},
        },
    }
}
OAUTH2_PROVIDER = {
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "ACCESS_TOKEN_EXPIRE_SECONDS": 300,
    "PKCE_REQUIRED": True,
    "SCOPES": {
        "tickets:read": "Read tickets",
        "announcements:read": "Read announcements",
        "introspection": "Ask about tokens",
    },
}
