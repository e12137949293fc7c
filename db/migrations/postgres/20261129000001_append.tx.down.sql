-- Nothing to take back: falcon_append does all that the one before it did. It stays, with
-- the functions that it calls; the next upgrade replaces all three.
SELECT 1;
