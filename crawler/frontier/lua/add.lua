-- (unknown) → pending: mark requests as seen and push the new ones, in one step.
--
-- KEYS  1 J stats
-- ARGV  1 P   2 J   3 epoch   4 order (fifo|lifo)   5 seed (1: note the hosts as in scope)
--       then groups of one host, priority and delay: host, priority, delay ms, n, n × (fingerprint, message)
-- Returns the number of new requests, or the error GONE.
-- Stays true: a fingerprint is in the seen-set if and only if its request was admitted; known = pending +
-- processing + done + dead + dropped; adding again changes nothing.
--
-- The seen-set is linear hashing over sets small enough to stay arrays of integers (set-max-intset-entries is 512); see
-- `place_of`. One bucket is split whenever the load passes LOAD, so unsplit buckets hold 2 × LOAD at most, some luck aside.

local LOAD = 200
local P, J, epoch, order, seed = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local stats = KEYS[1]
if gone(stats, epoch) then return redis.error_reply('GONE') end

local now = now_ms()
local state = redis.call('HMGET', stats, 'buckets', 'known')
local buckets, known = tonumber(state[1]), tonumber(state[2] or 0)
local low = power_below(buckets)

local names = {} -- a page's or a batch's links share few buckets: each name is made once
local function bucket_of(fingerprint)
  local place = place_of(fingerprint, buckets, low)
  local name = names[place]
  if not name then
    name = J .. 'seen:' .. string.format('%d', place)
    names[place] = name
  end
  return name
end

local function split()
  local from = J .. 'seen:' .. string.format('%d', buckets - low)
  local moved = {}
  for _, member in ipairs(redis.call('SMEMBERS', from)) do
    if hash(tonumber(member), low * 2) == buckets then moved[#moved + 1] = member end
  end
  for first = 1, #moved, 1000 do -- unpack has room for some thousand
    local last = math.min(first + 999, #moved)
    redis.call('SADD', J .. 'seen:' .. string.format('%d', buckets), unpack(moved, first, last))
    redis.call('SREM', from, unpack(moved, first, last))
  end
  buckets = buckets + 1
  if buckets == low * 2 then low = low * 2 end
end

local push = order == 'lifo' and 'RPUSH' or 'LPUSH'
local fresh_total = 0
local at = 6
while at <= #ARGV do
  local host, priority, delay, n = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 4
  local fresh = {}
  for i = at, at + 2 * n - 2, 2 do
    if redis.call('SADD', bucket_of(tonumber(ARGV[i])), ARGV[i]) == 1 then fresh[#fresh + 1] = ARGV[i + 1] end
  end
  at = at + 2 * n
  if #fresh > 0 then
    fresh_total = fresh_total + #fresh
    if delay > 0 then
      for _, message in ipairs(fresh) do redis.call('ZADD', J .. 'delayed', now + delay, message) end
    else
      redis.call(push, J .. 'pending:' .. priority .. ':' .. host, unpack(fresh))
      note_level(J, host, priority)
      redis.call('ZADD', J .. 'hosts', 'NX', now, host)
    end
  end
  if seed == '1' then redis.call('SADD', J .. 'scope', host) end
end

if fresh_total > 0 then
  local before = buckets
  while known + fresh_total > LOAD * buckets do split() end
  if buckets ~= before then redis.call('HSET', stats, 'buckets', buckets) end
  count(stats, { known = fresh_total, admitted = fresh_total, pending = fresh_total })
end
return fresh_total
