-- needs: counters, outbox
-- Puts dead items back into the outbox: each as a page of its own, for the sink that could not store it.
--
-- KEYS  1 J dead_items
-- ARGV  1 as MessagePack, by name:
--         J, epoch
--         items: for each its id, item (JSON), kind (its class), sink; and url and spider as they stand in a message
-- Returns the number moved, or the error GONE.
-- Stays true: an item moves once.

local order = cmsgpack.unpack(ARGV[1])
local J, moved = order.J, 0
if gone(J .. 'stats', order.epoch) then return redis.error_reply('GONE') end
in_generation(J)
for _, one in ipairs(order.items) do
  if redis.call('HDEL', KEYS[1], one.id) == 1 then
    redis.call('XADD', J .. 'outbox', '*', 'i', one.item, 'u', one.url, 's', one.spider, 'k', one.kind, 't', one.sink)
    moved = moved + 1
  end
end
return moved
