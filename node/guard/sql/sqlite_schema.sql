-- The newest epoch that was seen for each singleton. Rows are never removed.
CREATE TABLE IF NOT EXISTS quorate_fence (name TEXT PRIMARY KEY NOT NULL, epoch INTEGER NOT NULL);

CREATE TRIGGER IF NOT EXISTS quorate_fence_only_rises BEFORE UPDATE ON quorate_fence
WHEN NEW.epoch < OLD.epoch
BEGIN
    SELECT RAISE(ABORT, 'stale epoch: another owner has taken over');
END;
