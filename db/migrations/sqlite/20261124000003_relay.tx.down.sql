DROP TRIGGER falcon_inboxes_touch;
DROP TRIGGER falcon_inboxes_touch_gone;
DROP TRIGGER falcon_notifications_touch;
DROP TABLE falcon_touched;
DROP TABLE falcon_relay;
