-- processing → done | pending | dead, by what each visit found out: items and acknowledgement in one step.
--
-- KEYS  1 J processing:W
-- ARGV  1 P   2 worker   3 job   4 epoch   5 token   6 delay ms (between requests to a host that asked for none)
--       7 share and 8 number of pages that fail alike before their host or spider is paused
--       9 first back-off ms   10 patience ms with a host that cannot be reached
--       11 requests that should be on their way to a host at once (0: its pace is not adapted)   12 longest such delay ms
--       then for each lease 16 values: kind (done|skip|retry|release|aside|dead|spent: dead when its tries are used up|
--       junk), message, host, age ms of the request to the host (-1: none was made; -2: surely none), pause ms that it asked for,
--       how it is (see `note_health`), ms it took (-1: unknown), host delay ms (-1: as before), status, size in bytes,
--       delay ms before it may be handed out again, counters to raise (`name n name n`), number of items, the
--       items as JSON lines, what it says about host and spider (see `watch`), then
--       skip: the reason, a line break, its detail | retry, release, aside: the new message | dead, junk: the record
-- Returns a string with 1 for each lease committed and 0 for each that was not ours any more; or the error GONE.
-- Stays true: what is acknowledged here has its items in the outbox; what is 0 changed nothing; the same token
-- returns the same string and does nothing.

local P, worker, job, epoch, token, pace = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local share, least = tonumber(ARGV[7]), tonumber(ARGV[8])
local backoff, patience, target, longest = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local J = P .. 'job:' .. job .. ':'
local W = P .. 'worker:' .. worker
local stats = J .. 'stats'
local last = redis.call('HMGET', W, 'commit', 'reply')
if last[1] == token then return last[2] end
if gone(stats, epoch) then return redis.error_reply('GONE') end

local DAY, HOUR = 86400000, 3600000
local now = now_ms()
local counters = {}
local function add(name, by) counters[name] = (counters[name] or 0) + by end

-- `first` ms, doubled `times` times, at most `most`; up to a quarter is added, so that many do not come back at once.
local function growing(first, times, most)
  local chance = redis.call('TIME')[2] % 1000 / 1000
  return math.ceil(math.min(most, first * 2 ^ times * (1 + chance / 4)))
end

local function finish(state)
  add(state, 1)
  add('finished', 1)
end

-- How a host is, by its last answer: `ok`; `busy`, it said 429 or 503; `down`, no name, connection or answer in time;
-- or '' when that is not known. Returns when it may be asked again (ms; 0: nothing is new), and whether a failure is the
-- host's and not the page's. A host that rests already was told so by another answer to requests of the same moment.
--   tries  of a page that has no more left: fewer than the host's failures in a row are not that page's own; nil otherwise
local function note_health(J, host, health, pause, tries)
  local rest = pause > 0 and now + pause or 0
  if health == '' then return rest, false end
  local H = P .. 'host:' .. host
  local known = redis.call('HMGET', H, 'busy', 'failures', 'since', 'rest')
  local busy, failures, since = as_number(known[1]), as_number(known[2]), as_number(known[3])
  if health == 'ok' then
    if since > 0 or busy > 0 then redis.call('HSET', H, 'busy', math.max(0, busy - 1), 'failures', 0, 'since', 0) end
    return rest, false
  end
  local again, long = since > 0, since > 0 and now - since or 0
  local wait = 0
  if as_number(known[4]) > now then wait = 0
  elseif health == 'busy' then
    add('backoff', 1)
    if pause == 0 then
      busy = busy + 1
      wait = growing(backoff, busy - 1, DAY)
    end
  else
    failures = failures + 1
    if failures == BREAKER then add('breaker_opened', 1) end
    if failures >= BREAKER and long <= patience then wait = growing(backoff / 2, failures - BREAKER, HOUR) end
  end
  if wait > 0 then rest = now + wait end
  redis.call('HSET', H, 'busy', busy, 'failures', failures, 'since', again and since or now)
  if rest > now then redis.call('PEXPIRE', H, rest - now + DAY) end
  if health == 'down' then return rest, long <= patience and (failures >= BREAKER or failures > (tries or BREAKER)) end
  if long > 2 * DAY then redis.call('HSETNX', J .. 'paused', 'host ' .. host, string.format('%d busy for two days', now)) end
  return rest, again
end

-- How long a host takes for its answers; the pace that follows from it. It rises at once and falls by halves, and never
-- by an error, which is often answered fast.
local function note_latency(host, took, is_good)
  if target == 0 or took < 0 then return 0 end
  local H = P .. 'host:' .. host
  local before = as_number(redis.call('HGET', H, 'latency'))
  if before == 0 then before = took end
  local latency = math.max(took, is_good and (before + took) / 2 or before)
  redis.call('HSET', H, 'latency', math.ceil(latency))
  return adapted(latency, target, longest)
end

local apply = {
  done = function()
    finish('done')
    add('pages', 1)
  end,
  skip = function(message, _, why)
    local reason, detail = string.match(why, '^([^\n]*)\n?(.*)$')
    local _, _, _, _, _, url = read(message)
    finish('done')
    add('skip/' .. reason, 1)
    note_skip(J, url or '', reason, detail)
  end,
  retry = function(_, delay, message)
    put_back(J, message, now, delay)
    add('pending', 1)
    add('retried', 1)
  end,
  release = function(_, delay, message)
    put_back(J, message, now, delay)
    add('pending', 1)
    add('released', 1)
  end,
  spared = function(old)
    put_back(J, redelivered(old, 0), now, 0)
    add('pending', 1)
    add('spared', 1)
  end,
  aside = function(_, delay, message)
    redis.call('ZADD', J .. 'delayed', now + delay, message)
    add('pending', 1)
    add('set_aside', 1)
  end,
  dead = function(old, _, record)
    finish('dead')
    bury(J, old, record, now)
    add('dead/' .. (string.match(record, '"kind":"([%w_]+)"') or 'unknown'), 1)
  end,
  junk = function(old, _, record)
    bury_junk(J, old, record, now, counters)
    add('pending', 1) -- nobody had counted it when the claim took it from there
  end,
}

apply.spent = apply.dead

local replies = {}
for at = 13, #ARGV, 16 do
  local kind, message, host, age = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local pause, health = tonumber(ARGV[at + 4]), ARGV[at + 5]
  local took, host_delay = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  local status, size = ARGV[at + 8], tonumber(ARGV[at + 9])
  local delay, n, payload = tonumber(ARGV[at + 10]), tonumber(ARGV[at + 12]), ARGV[at + 15]
  if redis.call('LREM', KEYS[1], 1, message) == 1 then
    add('processing', -1)
    if status ~= '' then add('status/' .. status, 1) end
    if size > 0 then add('bytes', size) end
    for name, times in string.gmatch(ARGV[at + 11], '(%S+) (%d+)') do add(name, tonumber(times)) end
    local tries = kind == 'spent' and select(3, read(message)) + 1 or nil
    local rest, is_hosts = note_health(J, host, health, pause, tries)
    if is_hosts and (kind == 'retry' or kind == 'spent') then kind, n = 'spared', 0 end
    apply[kind](message, delay, payload)
    if n > 0 then
      redis.call('XADD', J .. 'outbox', '*', 'i', ARGV[at + 13])
      add('items', n)
    end
    watch(J, host, message, ARGV[at + 14], share, least, now)
    local asked = age >= 0 and now - age or nil
    local apart = math.max(pace, note_latency(host, took, string.sub(status, 1, 1) == '2'))
    settle(P, host, now, asked, apart, host_delay >= 0 and host_delay or nil, rest, age == -2 and J or nil)
    replies[#replies + 1] = '1'
  else
    if kind ~= 'junk' and kind ~= 'aside' then add('fenced', 1) end -- those are looked for in each shard
    replies[#replies + 1] = '0'
  end
end
count(stats, counters)
local reply = table.concat(replies)
redis.call('HSET', W, 'commit', token, 'reply', reply)
return reply
