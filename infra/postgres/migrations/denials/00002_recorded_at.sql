-- +goose Up
-- An export of an hour of all customers reads the pages of that hour. Rows come in the order of their moments, so this takes
-- a few kilobytes, and next to nothing to keep.
CREATE INDEX denials_recorded_at ON denials USING brin (recorded_at) WITH (pages_per_range = 16, autosummarize = on);
