-- Nothing to revert: falcon_append does all that its predecessor did. It stays, with the
-- functions that it calls; the next upgrade replaces all three.
SELECT 1;
