-- needs: clock, number, counters, orders, turns, favourites, obstacle, strike, hand_out, wake
-- pending → processing: hand a worker requests of hosts that may be asked now, and book the hosts' next turns.
--
-- KEYS  1 P workers
-- ARGV  1 as MessagePack, by name:
--         P, worker, token, shard (its number, as text)
--         limit   requests at most
--         lease   ms for which the worker is presumed alive
--         delay   ms between two requests to a host; jitter: largest random addition to it, as a share
--         cap     requests in flight to a host at most
--         target  requests that should be in flight to a host (0: its pace is not adapted); longest: ms, the longest
--                 delay that adapting may choose
--         outbox_limit  pages in a job's outbox at which claims hand out nothing of it
--         random  integer, 1 to 2^31 - 2
--         jobs    { name, epoch } each
-- Returns { wait ms (-1: nothing pending), idle word, { gone jobs }, job, { messages }, job, { messages } … }
-- Stays true: a message is in one list; a host, and its group, has at most `cap` requests in flight, and its turns are
-- at least its delay apart, over all workers and jobs; a host that a lease has to itself (`take.lua`) gives nothing
-- until that lease ends and wakes it; a host that must wait for its group stands in the group's line, and a group with
-- a line is in `groups` or waits for room; rules override `delay` and `cap`; the same token returns the same messages
-- again, because nobody can have committed any of them: they are still the newest in the processing lists.

local claim = cmsgpack.unpack(ARGV[1])
claim.now, claim.got, claim.strikes, claim.postponed = now_ms(), 0, STRIKES, 0
local P, now = claim.P, claim.now
local W = P .. 'worker:' .. claim.worker
local reply, claimed = { -1, 'empty', {} }, {}

-- The reply of an earlier call with the same token; nil if there was none.
local function replay()
  local last = redis.call('HMGET', W, 'token', 'claimed')
  if last[1] ~= claim.token then return nil end
  local again = { 0, '', {} }
  for job, n in string.gmatch(last[2], '(%S+) (%d+)') do
    again[#again + 1] = job
    again[#again + 1] = redis.call('LRANGE', P .. 'job:' .. job .. ':processing:' .. claim.worker, 0, n - 1)
  end
  return again
end

local function first_due(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end

local function wait_at_most(ms)
  reply[1] = reply[1] < 0 and ms or math.min(reply[1], ms)
end

-- Notes when to claim again. `turn`: the job's own next turn (ms; 0: it has no rate).
local function note_wait(job, turn)
  if as_number(redis.call('HGET', job.stats, 'pending')) <= 0 then return end
  local due = math.huge
  for _, set in ipairs({ 'hosts', 'groups', 'delayed' }) do due = math.min(due, first_due(job.J .. set) or math.huge) end
  local held = due == math.huge and first_due(job.J .. 'held')
  -- without any due time all hosts are at their cap, and the next commit wakes one
  wait_at_most((due == math.huge or held) and POLL or math.max(0, math.max(due, turn) - now))
  if reply[2] == 'empty' then reply[2] = held and 'paused' or 'cooling' end
end

-- Messages of the hosts and groups that may be asked now, and the job's own next turn.
local function look_round(job)
  local messages, has_rate = {}, rule(P, 'rate job ' .. job.name)
  local turn = has_rate and turn_of(P, 'job ' .. job.name) or 0
  local looks = LOOKS_A_REQUEST * (claim.limit - claim.got) + SPARE_LOOKS
  local function is_enough()
    return claim.got >= claim.limit or looks <= 0 or claim.strikes <= 0 or turn > now
  end
  local function look_at(names, look)
    for _, name in ipairs(names) do
      if is_enough() then break end
      looks = looks - 1
      for _, message in ipairs(look(claim, job, name, has_rate and 1 or claim.limit - claim.got)) do
        messages[#messages + 1] = message
        claim.got = claim.got + 1
        if has_rate then turn = book_turn(P, 'job ' .. job.name, now) end
      end
    end
    return #names
  end
  local function due(set)
    local most = math.min(claim.limit - claim.got, DUE_AT_ONCE)
    return redis.call('ZRANGEBYSCORE', job.J .. set, '-inf', now, 'LIMIT', 0, most)
  end
  look_at(first_hosts(P, job.J, now), ask)
  while not is_enough() do
    if look_at(due('groups'), ask_line) + look_at(due('hosts'), ask) == 0 then break end
  end
  return messages, turn
end

local function keep(job, messages)
  redis.call('SADD', W .. ':jobs', job.name)
  tally(job.counters, 'pending', -#messages)
  tally(job.counters, 'processing', #messages)
  claimed[#claimed + 1] = job.name .. ' ' .. #messages
  reply[#reply + 1] = job.name
  -- newest first, the order in which a replay of the same token reads them from the list
  local newest = {}
  for i = #messages, 1, -1 do newest[#newest + 1] = messages[i] end
  reply[#reply + 1] = newest
end

local function take_from(job)
  if redis.call('XLEN', job.J .. 'outbox') >= claim.outbox_limit then
    wait_at_most(POLL)
    reply[2] = 'outbox'
    return
  end
  job.pausing, job.counters = redis.call('EXISTS', job.J .. 'paused') == 1, {}
  if rule(P, 'block job ' .. job.name) then
    strike_job(claim, job)
    count(job.stats, job.counters)
    return note_wait(job, 0)
  end
  if is_paused(claim, job, 'job', job.name) then
    wait_at_most(POLL)
    if reply[2] == 'empty' then reply[2] = 'paused' end
    return
  end
  wake_delayed(claim, job)
  wake_held(claim, job)
  local messages, turn = look_round(job)
  if #messages > 0 then keep(job, messages) end
  count(job.stats, job.counters)
  if claim.got < claim.limit then note_wait(job, turn) end
end

local again = replay()
if again then return again end
redis.call('ZADD', KEYS[1], now + claim.lease, claim.worker)
note_time()
for _, job in ipairs(in_order(P, claim.jobs)) do
  job.J = P .. 'job:' .. job.name .. ':'
  job.stats = job.J .. 'stats'
  if gone(job.stats, job.epoch) then
    table.insert(reply[3], job.name)
  elseif claim.got < claim.limit then
    take_from(job)
  end
end
redis.call('HSET', W, 'token', claim.token, 'claimed', table.concat(claimed, ' '))
if claim.got >= claim.limit then reply[1], reply[2] = 0, '' end
return reply
