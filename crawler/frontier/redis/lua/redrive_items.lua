-- needs: clock, message, counters, generations, outbox
-- Puts dead items back into the outbox: each as a page of its own, for the sink that could not store it.
--
-- KEYS  1 J dead_items
-- ARGV  1 J   2 epoch   then for each: its id, the item, the URL and the spider as in a message, its class, the sink
-- Returns the number moved, or the error GONE.
-- Stays true: an item moves once.

local J, moved = ARGV[1], 0
if gone(J .. 'stats', ARGV[2]) then return redis.error_reply('GONE') end
in_generation(J)
for at = 3, #ARGV, 6 do
  if redis.call('HDEL', KEYS[1], ARGV[at]) == 1 then
    local item, url, spider, kind, sink = unpack(ARGV, at + 1, at + 5)
    redis.call('XADD', J .. 'outbox', '*', 'i', item, 'u', url, 's', spider, 'k', kind, 't', sink)
    moved = moved + 1
  end
end
return moved
