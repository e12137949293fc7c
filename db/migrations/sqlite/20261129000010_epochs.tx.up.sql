-- The epochs of the log, see the Postgres migration.
CREATE TABLE falcon_epochs (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    last_id    INTEGER NOT NULL,
    begun_at   INTEGER NOT NULL
);
