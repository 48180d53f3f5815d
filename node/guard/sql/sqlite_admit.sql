-- The first statement after BEGIN IMMEDIATE. If it fails, ROLLBACK.
INSERT INTO quorate_fence (name, epoch) VALUES (:name, :epoch)
ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch;
