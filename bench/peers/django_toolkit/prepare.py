"""Makes the tables and the tokens that an authorization by code would have made; prints them as JSON."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
sys.path.insert(0, str(Path(__file__).parent))

import django

django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken
from oauthlib.common import generate_token
from site_settings import PLACE

SCOPE = "tickets:read announcements:read"


def main() -> None:
    call_command("migrate", verbosity=0)
    person = User.objects.create(username="anna")
    client = Application.objects.create(
        client_id="bench",
        client_secret=PLACE["secret"],
        hash_client_secret=False,
        user=person,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris="https://client.example/callback",
    )
    expires = timezone.now() + timedelta(hours=1)

    def access(scope: str) -> AccessToken:
        return AccessToken.objects.create(
            user=person, application=client, token=generate_token(), scope=scope, expires=expires
        )

    refresh = [
        RefreshToken.objects.create(
            user=person, application=client, token=generate_token(), access_token=access(SCOPE)
        ).token
        for _ in range(PLACE["chains"])
    ]
    print(json.dumps({"refresh": refresh, "access": access(SCOPE).token}))


if __name__ == "__main__":
    main()
