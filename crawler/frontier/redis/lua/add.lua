-- needs: clock, message, counters, seen, line, skips
-- (unknown) → pending: mark requests as seen and push the new ones, in one step.
--
-- KEYS  1 J stats
-- ARGV  1 as MessagePack, by name (the cheapest format for client and server):
--         J, epoch
--         order   fifo|lifo
--         seed    true: the hosts come into scope
--         requests  flat lists, because tables cost more than the rest. For each host with a priority and a delay:
--                 hosts, priorities (text), delays (ms), counts of its requests, at most some thousand, the limit of
--                 Lua's unpack. For each request, in the same order: fingerprints (text), numbers (the same as doubles,
--                 which Lua takes long to read from text), messages, marks, targets. A mark is the fingerprint combined
--                 with the callback, a space, and the callback; '' for parse; no marks: all name parse. A target is
--                 [mark, name] of a request that a redirect leads to, '' of others; no targets: none
--         redirected  [mark, name] of each visited request that was redirected. The mark stands for its URL and
--                     callback, the name for this one request
-- Returns the number of new requests, or the error GONE.
-- Stays true: a request was admitted if and only if the seen-set has its fingerprint, or the fingerprint's twin if it
-- names a callback other than parse; known = pending + processing + done + dead + dropped; adding again changes
-- nothing.
--
-- Other callbacks: a request for a known URL with a callback other than the admitted one is counted and recorded, once
-- for each URL and callback. The seen-set has a mark if the URL was admitted for its callback, or requested with it
-- later; beside a twin, the fingerprint itself is such a mark, that of parse. `marks` of stats is the number of members
-- beyond those by which requests were admitted. A job whose requests all name parse has none, and pays nothing.
--
-- Redirects: the target of a redirect is also admitted for another callback, because nobody else reads it for that one.
-- A target that is known and has itself only been redirected was read by nobody, so it is admitted again, unless such a
-- request for it is open: `again` names that one until it is redirected in its turn. The worker marks redirected
-- requests before it adds their targets, so of two that redirect to each other one at least sees the other's mark.
-- `redirected` of stats is the number of those marks, `again` that of the requests that were admitted again.
--
-- The script makes room first: it splits buckets of the seen-set until SEEN_LOAD holds even if all requests are new. A
-- bucket that grew beyond what Redis keeps as an array of integers would stay a hash table; see `seen.lua`.

local add = cmsgpack.unpack(ARGV[1])
local J, stats = add.J, KEYS[1]
if gone(stats, add.epoch) then return redis.error_reply('GONE') end

local now = now_ms()
local state = redis.call('HMGET', stats, 'buckets', 'known', 'marks', 'redirected')
local buckets, known, marks = tonumber(state[1]), tonumber(state[2] or 0), tonumber(state[3] or 0)
local redirected = tonumber(state[4] or 0)
local low = power_below(buckets)

local function bucket_of(number)
  return string.format('%sseen:%d', J, bucket_number(number, buckets, low))
end

local function split()
  local from = J .. 'seen:' .. string.format('%d', buckets - low)
  local moved = {}
  for _, member in ipairs(redis.call('SMEMBERS', from)) do
    if hash(tonumber(member), low * 2) == buckets then moved[#moved + 1] = member end
  end
  if #moved > 0 then
    redis.call('SADD', J .. 'seen:' .. string.format('%d', buckets), unpack(moved))
    redis.call('SREM', from, unpack(moved))
  end
  buckets = buckets + 1
  if buckets == low * 2 then low = low * 2 end
end

local requests = add.requests
local fingerprints, numbers, messages = requests.fingerprints, requests.numbers, requests.messages
local asked, before = #add.redirected + #fingerprints, buckets
while known + marks + redirected + asked > SEEN_LOAD * buckets do split() end
if buckets ~= before then redis.call('HSET', stats, 'buckets', buckets) end

local fresh_marks, others = 0, 0
local function note_other(message, callback)
  local url = url_of(message)
  others = others + 1
  redis.call('HSETNX', J .. 'others', callback, url)
  note_skip(J, url, 'other_callback', callback)
end

local fresh_redirected, again = 0, 0
for _, pair in ipairs(add.redirected) do
  local mark, name = pair[1], pair[2]
  fresh_redirected = fresh_redirected + redis.call('SADD', bucket_of(tonumber(mark)), mark)
  if redis.call('HGET', J .. 'again', mark) == name then redis.call('HSET', J .. 'again', mark, '') end
end

-- Returns whether a known request was redirected whenever it was visited, and opens it again.
local function is_unread(target)
  if target == '' then return false end
  local mark, name = target[1], target[2]
  if redis.call('SISMEMBER', bucket_of(tonumber(mark)), mark) == 0 then return false end
  if (redis.call('HGET', J .. 'again', mark) or '') ~= '' then return false end
  redis.call('HSET', J .. 'again', mark, name)
  again = again + 1
  return true
end

-- Marks the i-th request as seen. Returns whether it is new.
local function is_new(i)
  local fingerprint, mark, callback = fingerprints[i], requests.marks[i] or '', 'parse'
  local target = requests.targets[i] or ''
  if mark == '' then
    if redis.call('SADD', bucket_of(numbers[i]), fingerprint) == 0 then return is_unread(target) end
    if marks + fresh_marks == 0 then return true end
    local twin = twin_of(fingerprint)
    if redis.call('SISMEMBER', bucket_of(tonumber(twin)), twin) == 0 then return true end
  else
    mark, callback = string.match(mark, '^(%S+) (.*)$')
    if redis.call('SADD', bucket_of(tonumber(mark)), mark) == 0 then return is_unread(target) end
    if redis.call('SISMEMBER', bucket_of(numbers[i]), fingerprint) == 0 then
      local twin = twin_of(fingerprint)
      if redis.call('SADD', bucket_of(tonumber(twin)), twin) == 1 then
        fresh_marks = fresh_marks + 1
        return true
      end
    end
  end
  if target ~= '' then return true end
  fresh_marks = fresh_marks + 1
  note_other(messages[i], callback)
  return false
end

local push = add.order == 'lifo' and 'RPUSH' or 'LPUSH'
local fresh_total, last = 0, 0 -- new requests; the last request that was read
local turns = {} -- score and host of those with new requests
for i, host in ipairs(requests.hosts) do
  local priority, delay, fresh = requests.priorities[i], requests.delays[i], {}
  for number = last + 1, last + requests.counts[i] do
    if is_new(number) then fresh[#fresh + 1] = messages[number] end
  end
  last = last + requests.counts[i]
  fresh_total = fresh_total + #fresh
  if delay > 0 then
    for _, message in ipairs(fresh) do redis.call('ZADD', J .. 'delayed', now + delay, message) end
  elseif #fresh > 0 then
    redis.call(push, J .. 'pending:' .. priority .. ':' .. host, unpack(fresh))
    if priority ~= '0' then note_level(J, host, priority) end -- 0 is among the levels of any host that has some
    turns[#turns + 1] = comes_in(J, host, now)
    turns[#turns + 1] = host
  end
end
if #turns > 0 then redis.call('ZADD', J .. 'hosts', 'NX', unpack(turns)) end
if add.seed then redis.call('SADD', J .. 'scope', unpack(requests.hosts)) end

count(stats, {
  known = fresh_total, admitted = fresh_total, pending = fresh_total,
  marks = fresh_marks, redirected = fresh_redirected, again = again, ['links/other_callback'] = others,
})
return fresh_total
