-- pending → processing: hand a worker requests of hosts that may be asked now, and book the hosts' next turn.
--
-- KEYS  1 P workers
-- ARGV  1 P   2 worker   3 token   4 limit   5 delay ms   6 jitter (share of the delay)   7 cap (requests at once
--       to a host)   8 lease ms   9 outbox limit (pages)   10 random integer   11 requests that should be on their way to
--       a host at once (0: its pace is not adapted)   12 longest such delay ms   then job, epoch for each job
-- Returns { wait ms (-1: nothing pending), idle word, { gone jobs }, job, { messages }, job, { messages } … }
-- Stays true: a message is in one list; a host, and the group of hosts it belongs to, has at most `cap` requests in flight
-- and its turns are at least its delay apart, over all workers and jobs; one that a lease has to itself (`take.lua`) gives
-- nothing, and is looked at again when that lease ends; a host that must wait for its group stands in the
-- group's line, and a group with a line is in `groups` or waits for a slot; what people have ruled goes before `delay`
-- and `cap`; the same token returns the same messages again, because nobody can have committed any of them: they are
-- still the newest in the processing lists.

local P, worker, token, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local delay, jitter, cap = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local lease, outbox_limit, random = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local target, longest = tonumber(ARGV[11]), tonumber(ARGV[12])
local DAY = 86400000
local LOOK_AGAIN = 10000 -- ms until a host that is paused is looked at again
local strikes = 500 -- requests that this claim may end because they are blocked, or no requests at all
local postponed = 0 -- hosts put off because it is not their spider's turn
local W = P .. 'worker:' .. worker
local now = now_ms()

local last = redis.call('HMGET', W, 'token', 'claimed')
if last[1] == token then
  local again = { 0, '', {} }
  for job, n in string.gmatch(last[2], '(%S+) (%d+)') do
    again[#again + 1] = job
    again[#again + 1] = redis.call('LRANGE', P .. 'job:' .. job .. ':processing:' .. worker, 0, n - 1)
  end
  return again
end
redis.call('ZADD', KEYS[1], now + lease, worker)

-- The host's next message, highest priority first; forgets levels that have run empty.
local function pop(J, host, levels)
  local processing = J .. 'processing:' .. worker
  if not levels then return redis.call('RPOPLPUSH', J .. 'pending:0:' .. host, processing) end
  while #levels > 0 do
    local message = redis.call('RPOPLPUSH', J .. 'pending:' .. levels[1] .. ':' .. host, processing)
    if message then return message end
    table.remove(levels, 1)
  end
  return false
end

local function levels_of(J, host)
  local text = redis.call('HGET', J .. 'levels', host)
  if not text then return nil end
  local levels = {}
  for level in string.gmatch(text, '%S+') do levels[#levels + 1] = level end
  return levels
end

-- Bytes that are no request of this host die here: nobody could commit or settle them.
local function is_sound(J, host, message, counters)
  local _, _, _, _, _, url = read(message)
  if url and host_of(url) == host then return true end
  strikes = strikes - 1
  redis.call('LPOP', J .. 'processing:' .. worker)
  local why = 'bytes in the queue that are no request of host ' .. host
  bury_junk(J, message, own_record(message, 'junk', why, worker), now, counters)
  return false
end

local function turn_after(pace)
  random = (random * 16807) % 2147483647
  return now + math.ceil(pace * (1 + jitter * random / 2147483647))
end

-- The next message of a host, still in its line; false: there is none.
local function peek(J, host)
  for _, level in ipairs(levels_of(J, host) or { '0' }) do
    local message = redis.call('LINDEX', J .. 'pending:' .. level .. ':' .. host, -1)
    if message then return message end
  end
  return false
end

local function is_paused(job, J, what, name, pausing)
  local subject = what .. ' ' .. name
  if pausing and redis.call('HEXISTS', J .. 'paused', subject) == 1 then return true end
  return rule(P, 'pause ' .. subject) or rule(P, 'pause ' .. subject .. ' in ' .. job)
end

-- When a spider that has a rate may be asked next; the hosts that wait for it are spread over what follows.
local function put_off(spider)
  local turn, pace = turn_of(P, 'spider ' .. spider, now)
  if turn <= now then return nil end
  postponed = postponed + 1
  return math.min(turn, now + LOOK_AGAIN) + (postponed - 1) * pace % LOOK_AGAIN
end

-- What keeps a message from being handed out: nil, 'paused', 'blocked', or when it should be looked at again (ms).
local function obstacle(job, J, host, message, pausing)
  local spider = spider_of(message) or ''
  if rule(P, 'block spider ' .. spider) then return 'blocked' end
  if is_paused(job, J, 'host', host, pausing) or is_paused(job, J, 'spider', spider, pausing) then return 'paused' end
  return put_off(spider)
end

-- A rule for the host or group itself goes before the settings.
local function ledger_of(name)
  local fields = { 'next', 'inflight', 'delay', 'waiting', 'group', 'cap', 'busy', 'failures', 'latency' }
  local read = redis.call('HMGET', P .. 'host:' .. name, unpack(fields))
  local capped = rule(P, 'concurrency host ' .. name)
  local is_ill, shared = as_number(read[7]) > 0 or as_number(read[8]) >= BREAKER, as_number(read[6])
  return {
    name = name, due = as_number(read[1]), inflight = as_number(read[2]), delay = as_number(read[3]),
    waiting = read[4] or '', group = read[5] ~= '' and read[5] or nil, ordered = rule(P, 'rate host ' .. name),
    -- of one that is ill, one request finds out whether it is well again
    cap = is_ill and 1 or capped or is_ruled(P) and shared > 0 and shared or cap, capped = capped,
    latency = as_number(read[9]),
  }
end

-- Where a rule gives a host more room, or less, its group has as much, unless a rule says something else of that.
local function share_cap(own, group)
  if not own.capped or group.capped or group.cap == own.capped then return end
  group.cap = own.capped
  redis.call('HSET', P .. 'host:' .. group.name, 'cap', own.capped)
end

local function is_free(ledger)
  return ledger.inflight < ledger.cap and ledger.due <= now
end

-- Look at a host or group (`set`: where the job keeps it) when it may be asked, or when it has a slot free.
local function look_later(job, J, set, ledger)
  if ledger.inflight < ledger.cap then
    redis.call('ZADD', J .. set, ledger.due, ledger.name)
    return
  end
  redis.call('ZREM', J .. set, ledger.name)
  local word = set == 'groups' and '@' .. job or job
  if not string.find(' ' .. ledger.waiting .. ' ', ' ' .. word .. ' ', 1, true) then
    redis.call('HSET', P .. 'host:' .. ledger.name, 'waiting', ledger.waiting .. ' ' .. word)
  end
end

-- Its group is busy: the host is not looked at again before its place in the line comes up.
local function stand_in_line(job, J, host, group, counters)
  redis.call('ZREM', J .. 'hosts', host)
  local new = redis.call('ZADD', J .. 'line:' .. group.name, 'NX', now, host)
  counters['lined'] = (counters['lined'] or 0) + new
  look_later(job, J, 'groups', group)
end

local function book(ledger, count, pace)
  local before = ledger.due
  ledger.inflight, ledger.due = ledger.inflight + count, turn_after(pace)
  local H = P .. 'host:' .. ledger.name
  redis.call('HSET', H, 'next', ledger.due, 'inflight', ledger.inflight, 'pace', pace, 'before', before)
  if ledger.ordered then redis.call('HSET', H, 'usual', delay) end
  redis.call('PEXPIRE', H, DAY)
end

-- End a request that has left its line and will never be handed out, by which rule.
local function strike(host, J, message, counters, blocked)
  strikes = strikes - 1
  local _, _, _, _, _, url = read(message)
  if not url or host_of(url) ~= host then
    bury_junk(J, message, own_record(message, 'junk', 'bytes in the queue that are no request', worker), now, counters)
    return
  end
  note_skip(J, url, 'blocked', blocked)
  counters['pending'] = counters['pending'] - 1
  for _, name in ipairs({ 'done', 'finished', 'skip/blocked' }) do counters[name] = (counters[name] or 0) + 1 end
end

local function strike_line(J, host, counters, blocked)
  for _, level in ipairs(levels_of(J, host) or { '0' }) do
    while strikes > 0 do
      local message = redis.call('RPOP', J .. 'pending:' .. level .. ':' .. host)
      if not message then break end
      strike(host, J, message, counters, blocked)
    end
  end
  if strikes <= 0 then return end
  redis.call('HDEL', J .. 'levels', host)
  for _, set in ipairs({ 'hosts', 'held' }) do redis.call('ZREM', J .. set, host) end
  counters['lined'] = (counters['lined'] or 0) - leave_line(P, J, host)
end

local function strike_job(job, J, counters)
  local sets = { 'hosts', 'held' }
  for _, group in ipairs(redis.call('ZRANGE', J .. 'groups', 0, 255)) do sets[#sets + 1] = 'line:' .. group end
  for _, set in ipairs(sets) do
    for _, host in ipairs(redis.call('ZRANGE', J .. set, 0, 255)) do
      if strikes <= 0 then return end
      strike_line(J, host, counters, 'job ' .. job)
    end
  end
  local delayed = redis.call('ZPOPMIN', J .. 'delayed', strikes)
  for i = 1, #delayed, 2 do
    local _, _, _, _, _, url = read(delayed[i])
    strike(url and host_of(url), J, delayed[i], counters, 'job ' .. job)
  end
end

-- Up to `room` of the host's messages, and whether it has `more`, `nothing`, nothing that is not `paused`, or when it
-- should be looked at again (ms).
local function take(job, J, host, room, counters, pausing)
  local levels = levels_of(J, host)
  local taken, left = {}, 'more'
  while #taken < room and strikes > 0 do
    local next_one = (pausing or is_ruled(P)) and peek(J, host)
    local why = next_one and obstacle(job, J, host, next_one, pausing)
    if why and why ~= 'blocked' then left = why break end
    local message = pop(J, host, levels)
    if not message then left = 'nothing' break end
    if why then
      redis.call('LPOP', J .. 'processing:' .. worker)
      strike(host, J, message, counters, 'spider ' .. (spider_of(message) or ''))
    elseif is_sound(J, host, message, counters) then
      taken[#taken + 1] = message
      if next_one then book_turn(P, 'spider ' .. (spider_of(message) or ''), now) end
    end
  end
  if levels and #levels == 0 then redis.call('HDEL', J .. 'levels', host) end
  return taken, left
end

-- Take what one host may give now; returns the messages. `pausing`: something in this job is paused.
local function ask(job, J, host, room, counters, pausing)
  if rule(P, 'block host ' .. host) then strike_line(J, host, counters, 'host ' .. host) return {} end
  local own = ledger_of(host)
  if asker_of(P, host) then own.cap = 0 end -- full: the end of that lease wakes those that wait
  if not is_free(own) then look_later(job, J, 'hosts', own) return {} end
  local group = own.group and ledger_of(own.group)
  if group then share_cap(own, group) end
  if group and not is_free(group) then stand_in_line(job, J, host, group, counters) return {} end

  local pace = math.max(own.ordered or math.max(delay, adapted(own.latency, target, longest)), own.delay)
  local groups_pace = group and (group.ordered or math.min(own.ordered or delay, delay)) or 0
  room = math.min(room, own.cap - own.inflight, group and group.cap - group.inflight or own.cap)
  if pace > 0 or groups_pace > 0 then room = 1 end
  local taken, left = take(job, J, host, room, counters, pausing)
  if #taken > 0 then
    book(own, #taken, pace)
    if group then book(group, #taken, groups_pace) end
  end
  if left == 'more' then
    look_later(job, J, 'hosts', own)
  elseif type(left) == 'number' then
    redis.call('ZADD', J .. 'hosts', math.max(left, own.due), host)
  else
    redis.call('ZREM', J .. 'hosts', host)
    if left == 'paused' then redis.call('ZADD', J .. 'held', now + LOOK_AGAIN, host) end
  end
  return taken
end

-- The same with the first host of the line that waits for a group.
local function ask_line(job, J, name, room, counters, pausing)
  local group, line, taken = ledger_of(name), J .. 'line:' .. name, {}
  if is_free(group) then
    local host = redis.call('ZPOPMIN', line)[1]
    if host then
      counters['lined'] = (counters['lined'] or 0) - 1
      taken = ask(job, J, host, room, counters, pausing)
      group = ledger_of(name)
    end
  end
  if redis.call('EXISTS', line) == 1 then look_later(job, J, 'groups', group)
  else redis.call('ZREM', J .. 'groups', name) end
  return taken
end

local function wake_delayed(J, counters)
  for _, message in ipairs(redis.call('ZRANGEBYSCORE', J .. 'delayed', '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('ZREM', J .. 'delayed', message)
    local _, _, _, _, _, url = read(message)
    if url and host_of(url) then
      push_front(J, message, now)
    else
      local why = 'bytes in the delayed set that are no request'
      bury_junk(J, message, own_record(message, 'junk', why, worker), now, counters)
    end
  end
end

-- Hosts that were paused: their pause may have been lifted.
local function wake_held(J)
  for _, host in ipairs(redis.call('ZRANGEBYSCORE', J .. 'held', '-inf', now, 'LIMIT', 0, 64)) do
    redis.call('ZREM', J .. 'held', host)
    redis.call('ZADD', J .. 'hosts', 'NX', now, host)
  end
end

local function first_due(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end

local reply = { -1, 'empty', {} }
local claimed = {}
local got = 0

-- `turn`: when the job's own turn comes (ms; 0: it has no rate)
local function note_wait(stats, J, turn)
  if as_number(redis.call('HGET', stats, 'pending')) <= 0 then return end
  local due = math.huge
  for _, set in ipairs({ 'hosts', 'groups', 'delayed' }) do due = math.min(due, first_due(J .. set) or math.huge) end
  local held = due == math.huge and first_due(J .. 'held')
  -- no host, nothing delayed or paused: all hosts are at their cap, and the next commit wakes one
  local wait = (due == math.huge or held) and 1000 or math.max(0, math.max(due, turn) - now)
  if reply[1] < 0 or wait < reply[1] then reply[1] = wait end
  if reply[2] == 'empty' then reply[2] = held and 'paused' or 'cooling' end
end

local function take_from(job)
  local J = P .. 'job:' .. job .. ':'
  local stats = J .. 'stats'
  if redis.call('XLEN', J .. 'outbox') >= outbox_limit then
    reply[1], reply[2] = math.max(reply[1], 1000), 'outbox'
    return
  end
  local messages, counters = {}, { pending = 0 }
  local pausing = redis.call('EXISTS', J .. 'paused') == 1
  if rule(P, 'block job ' .. job) then
    strike_job(job, J, counters)
    count(stats, counters)
    return note_wait(stats, J, 0)
  end
  if is_paused(job, J, 'job', job, pausing) then
    if reply[1] < 0 then reply[1] = 1000 end
    if reply[2] == 'empty' then reply[2] = 'paused' end
    return
  end
  wake_delayed(J, counters)
  wake_held(J)
  local has_rate = rule(P, 'rate job ' .. job)
  local turn = has_rate and turn_of(P, 'job ' .. job, now) or 0
  local looks = 4 * (limit - got) + 64 -- bounds the script when many hosts turn out not to be ready
  local function is_enough()
    return got >= limit or looks <= 0 or strikes <= 0 or turn > now
  end
  local function look_at(names, look)
    for _, name in ipairs(names) do
      if is_enough() then break end
      looks = looks - 1
      for _, message in ipairs(look(job, J, name, has_rate and 1 or limit - got, counters, pausing)) do
        messages[#messages + 1] = message
        got = got + 1
        if has_rate then turn = book_turn(P, 'job ' .. job, now) end
      end
    end
    return #names
  end
  local function due(set)
    return redis.call('ZRANGEBYSCORE', J .. set, '-inf', now, 'LIMIT', 0, math.min(math.max(limit - got, 1), 64))
  end
  look_at(first_hosts(P, J, now), ask)
  while not is_enough() do
    if look_at(due('groups'), ask_line) + look_at(due('hosts'), ask) == 0 then break end
  end
  if #messages > 0 then
    redis.call('SADD', W .. ':jobs', job)
    counters['pending'] = counters['pending'] - #messages
    counters['processing'] = #messages
    claimed[#claimed + 1] = job .. ' ' .. #messages
    reply[#reply + 1] = job
    -- newest first, as a replay of the same token reads them from the list
    local newest = {}
    for i = #messages, 1, -1 do newest[#newest + 1] = messages[i] end
    reply[#reply + 1] = newest
  end
  count(stats, counters)
  if got < limit then note_wait(stats, J, turn) end
end

local epochs, names = {}, {}
for i = 13, #ARGV, 2 do
  names[#names + 1] = ARGV[i]
  epochs[ARGV[i]] = ARGV[i + 1]
end
for _, job in ipairs(in_order(P, names)) do
  if gone(P .. 'job:' .. job .. ':stats', epochs[job]) then
    reply[3][#reply[3] + 1] = job
  elseif got < limit then
    take_from(job)
  end
end
redis.call('HSET', W, 'token', token, 'claimed', table.concat(claimed, ' '))
if got >= limit then reply[1], reply[2] = 0, '' end
return reply
