-- needs: number
-- The budget of a limited job, `J budget` in the first shard, its home: the limits, and what other shards borrowed.
--
-- Gives  limited, the fields of the limits: `pages` read, `items`, `errors` of the spider's code, `ms` since the limits
--        were set; `pages_idle`, `ms_idle`: since the last item. An absent field is no limit
--        limits_in(budget) → field → number, 0 if absent
--        totals_of(stats, others) → the sums over all shards: pages, items, errors
--        reached(budget, limits, totals, now) → Scrapy's word for the limit that is reached; nil: none
--        reckon(budget, stats, limits, others) writes the home's quota: the limit without what others have borrowed
-- Of `others`, the other shards: `shard`, and what it has under these names in its stats: pages, items, spider_errors,
-- taken, returned, closed.
-- Stays true: what a shard borrowed and returned only grows, so old word of it changes nothing.

local limited = { 'pages', 'items', 'errors', 'ms', 'pages_idle', 'ms_idle' }

local function limits_in(budget)
  local limits, found = {}, redis.call('HMGET', budget, unpack(limited))
  for place, name in ipairs(limited) do limits[name] = as_number(found[place]) end
  return limits
end

local function totals_of(stats, others)
  local found = redis.call('HMGET', stats, 'pages', 'items', 'spider_errors')
  local totals = { pages = as_number(found[1]), items = as_number(found[2]), errors = as_number(found[3]) }
  for _, other in ipairs(others) do
    totals.pages = totals.pages + as_number(other.pages)
    totals.items = totals.items + as_number(other.items)
    totals.errors = totals.errors + as_number(other.spider_errors)
  end
  return totals
end

-- How many pages were read, and the ms that have passed, since an item was seen last.
local function since_item(budget, totals, now)
  local found = redis.call('HMGET', budget, 'items_seen', 'pages_then', 'time_then')
  if found[1] and totals.items <= as_number(found[1]) then
    return totals.pages - as_number(found[2]), now - as_number(found[3])
  end
  redis.call('HSET', budget, 'items_seen', totals.items, 'pages_then', totals.pages, 'time_then', now)
  return 0, 0
end

local function reached(budget, limits, totals, now)
  local function is_at(name, number) return limits[name] > 0 and number >= limits[name] end
  if is_at('pages', totals.pages) then return 'closespider_pagecount' end
  if is_at('items', totals.items) then return 'closespider_itemcount' end
  if is_at('errors', totals.errors) then return 'closespider_errorcount' end
  if is_at('ms', now - as_number(redis.call('HGET', budget, 'since'))) then return 'closespider_timeout' end
  if math.max(limits.pages_idle, limits.ms_idle) == 0 then return nil end
  local pages, ms = since_item(budget, totals, now)
  if is_at('pages_idle', pages) then return 'closespider_pagecount_no_item' end
  if is_at('ms_idle', ms) then return 'closespider_timeout_no_item' end
end

local function reckon(budget, stats, limits, others)
  local quota = limits.pages > 0 and limits.pages or NO_LIMIT
  for _, other in ipairs(others) do
    local given, back = 'given:' .. other.shard, 'back:' .. other.shard
    local found = redis.call('HMGET', budget, given, back)
    local lent = math.max(as_number(found[1]), as_number(other.taken))
    local returned = math.max(as_number(found[2]), as_number(other.returned))
    if lent + returned > 0 then redis.call('HSET', budget, given, lent, back, returned) end
    quota = quota - lent + returned
  end
  redis.call('HSET', stats, 'quota', quota)
  return quota
end
