-- The last requests that were skipped.
--
-- Gives  note_skip(J, url, reason, detail) records one
-- Stays true: the last SKIPS_KEPT are there, and perhaps a few more.

local function note_skip(J, url, reason, detail)
  redis.call('XADD', J .. 'skips', 'MAXLEN', '~', SKIPS_KEPT, '*', 'url', url, 'reason', reason, 'detail', detail)
end
