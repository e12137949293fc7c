-- Nothing to take back: falcon_append does all that the one before it did.
SELECT 1;
