"""The pool to the leader, against a real PostgreSQL."""



from troth.core.db import Database


async def test_the_app_role_reads_through_tls_1_3_with_its_certificate(database: Database) -> None:
    row = await database.fetchrow(
        "select current_user as role, ssl, version from pg_stat_ssl where pid = pg_backend_pid()"
    )
    assert row is not None
    assert (row["role"], row["ssl"], row["version"]) == ("troth_app", True, "TLSv1.3")
