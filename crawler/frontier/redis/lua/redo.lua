-- needs: clock, message, counters, line, drift
-- done → pending: fetches pages again whose items lacked fields that their callback gave before.
--
-- KEYS  1 J drifted
-- ARGV  1 J   2 epoch   3 callback
-- Returns the number moved, at most LETTERS_CHUNK, or the error GONE.
-- Stays true: a page moves once; `admitted` and `finished` only grow, so the request is admitted again; the keys of its
-- items are free again, so the complete ones are kept.

local J, epoch, callback = ARGV[1], ARGV[2], ARGV[3]
if gone(J .. 'stats', epoch) then return redis.error_reply('GONE') end
local now, kept, moved = now_ms(), J .. 'incomplete:' .. callback, 0
close_paused(J, callback, now)
local found = redis.call('HRANDFIELD', kept, LETTERS_CHUNK, 'WITHVALUES')
for at = 1, #found, 2 do
  redis.call('HDEL', kept, found[at])
  for key in string.gmatch(found[at + 1], '%S+') do redis.call('SREM', J .. 'item_keys', key) end
  push_front(J, pardoned(found[at]), now)
  moved = moved + 1
end
count(J .. 'stats', {
  done = -moved, pending = moved, admitted = moved, redriven = moved, ['incomplete/' .. callback] = -moved,
})
return moved
