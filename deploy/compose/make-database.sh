#!/bin/sh
# The service's role and database, when PostgreSQL is first started: it owns its database and may do nothing else.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --set password="$(cat "${ESCROW_PASSWORD_FILE:-/run/secrets/escrow_password}")" \
    --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE escrow LOGIN PASSWORD :'password';
CREATE DATABASE escrow OWNER escrow ENCODING 'UTF8' TEMPLATE template0;
SQL
