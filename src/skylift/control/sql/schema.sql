-- One row per environment. The reconciler's facts and what the user requested live side by side; only the request has a generation.
CREATE TABLE IF NOT EXISTS environments (
    name        text PRIMARY KEY,
    spec        jsonb NOT NULL,
    generation  integer NOT NULL DEFAULT 1,
    status      text NOT NULL,
    created_at  timestamptz NOT NULL,
    wished_at   timestamptz NOT NULL,
    last_update jsonb NOT NULL,
    facts       jsonb NOT NULL DEFAULT '{}',
    tags        jsonb NOT NULL DEFAULT '{}',
    progress    jsonb NOT NULL DEFAULT '{}',
    served      jsonb
);
-- Of a skylift that could not update environments.
ALTER TABLE environments ADD COLUMN IF NOT EXISTS served jsonb;
-- What happened, for people. It outlives the environment: why a deletion was asked for is told afterwards, too.
CREATE TABLE IF NOT EXISTS environment_events (
    id          bigserial PRIMARY KEY,
    environment text NOT NULL,
    at          timestamptz NOT NULL,
    status      text NOT NULL,
    text        text NOT NULL,
    seconds     double precision
);
CREATE INDEX IF NOT EXISTS environment_events_of ON environment_events (environment, id);
