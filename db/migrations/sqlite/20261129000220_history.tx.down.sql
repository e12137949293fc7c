DROP TRIGGER falcon_tasks_erase_goes_on;
DROP TRIGGER falcon_tasks_erase;
DROP TRIGGER falcon_sessions_gone;
DROP TABLE falcon_past_sessions;
DROP TABLE falcon_histories;
ALTER TABLE falcon_sessions DROP COLUMN written_at;
ALTER TABLE falcon_sessions DROP COLUMN written_seq;
ALTER TABLE falcon_sessions DROP COLUMN recent;
