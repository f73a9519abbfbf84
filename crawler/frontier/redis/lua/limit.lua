-- needs: clock, number, counters, quota, budget
-- Sets the limits of a job, or lifts them: in each other shard, and then in the first one, the home of its budget.
--
-- KEYS  1 J stats
-- ARGV  1 as MessagePack, by name:
--         J, epoch
--         limits  field → number (see `budget.lua`); none: there are no limits any more
--         others  in the home: the other shards, as in `budget.lua`; nil: this is another shard
-- Returns { Scrapy's word for the limit that is reached already, or '' }, or the error GONE.
-- Stays true: what shards have borrowed and returned is remembered when limits are lifted, because only its sums are
-- compared.

local order = cmsgpack.unpack(ARGV[1])
local budget, stats, is_limited = order.J .. 'budget', KEYS[1], next(order.limits) ~= nil
if gone(stats, order.epoch) then return redis.error_reply('GONE') end
local now = now_ms()

if not order.others then
  if not is_limited then redis.call('HDEL', stats, 'quota')
  elseif redis.call('HEXISTS', stats, 'quota') == 0 then
    borrow(stats, 0)
    settle_loan(stats)
  end
  return { '' }
end

local before, changed = limits_in(budget), false
for _, name in ipairs(limited) do
  local number = as_number(order.limits[name])
  if number ~= before[name] then
    changed = true
    if number > 0 then redis.call('HSET', budget, name, number) else redis.call('HDEL', budget, name) end
  end
end
if changed then
  redis.call('HSET', budget, 'since', now)
  redis.call('HDEL', budget, 'items_seen', 'pages_then', 'time_then')
end
local limits = limits_in(budget)
if is_limited then reckon(budget, stats, limits, order.others) else redis.call('HDEL', stats, 'quota') end
return { reached(budget, limits, totals_of(stats, order.others), now) or '' }
