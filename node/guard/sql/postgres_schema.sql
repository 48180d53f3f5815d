-- The newest epoch that was seen for each singleton. Rows are never removed.
CREATE TABLE IF NOT EXISTS quorate_fence (name text PRIMARY KEY, epoch bigint NOT NULL);

-- The first statement of each transaction of a singleton. An older epoch fails, and the transaction with it.
CREATE OR REPLACE FUNCTION quorate_admit(singleton text, shown bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO quorate_fence AS fence (name, epoch) VALUES (singleton, shown)
    ON CONFLICT (name) DO UPDATE SET epoch = EXCLUDED.epoch
    WHERE fence.epoch <= EXCLUDED.epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % of singleton % is stale', shown, singleton
        USING ERRCODE = 'QE412', HINT = 'Another owner has taken over. Stop.';
    END IF;
END $$;
