-- needs: clock, number, counters, replay, quota, due, rules, favourites, obstacle, strike, wake, look
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
--         jobs    each: name, epoch; mine: hosts that this process asked a moment ago, latest first; told: the word of
--                 a closing that the caller knows; asked: whether it has asked the job's budget (`draw.lua`) since its
--                 last claim; given: what that has ever given to this shard, if it is at home in another
-- Returns { wait ms (-1: nothing pending), idle word, { gone jobs }, { job, word, … }, job, { messages }, job … }; the
-- word of a job is that of its closing, if the caller does not know it, or '' if it must ask the budget first
-- Stays true: a message is in one list; a host, and its group, has at most `cap` requests in flight, and its turns are
-- at least its delay apart, over all workers and jobs; a host that a lease has to itself (`take.lua`) gives nothing
-- until that lease ends and wakes it; a host that must wait for its group stands in the group's line, and a group with
-- a line is in `groups` or waits for room; rules override `delay` and `cap`; the same token returns the same messages
-- again; a closed job gives nothing, and of a limited one no more is read and in flight than its limit.

local claim = cmsgpack.unpack(ARGV[1])
claim.now, claim.got, claim.strikes, claim.postponed = now_ms(), 0, STRIKES, 0
local P, now = claim.P, claim.now
local W = P .. 'worker:' .. claim.worker
local reply, claimed = { -1, 'empty', {}, {} }, {}

local function wait_at_most(ms)
  reply[1] = reply[1] < 0 and ms or math.min(reply[1], ms)
end

local function note_wait(job, turn)
  local wait, held = wait_for(job, turn, now)
  if not wait then return end
  wait_at_most(wait)
  if reply[2] == 'empty' then reply[2] = held and 'paused' or 'cooling' end
end

local function keep(job, messages)
  redis.call('SADD', W .. ':jobs', job.name)
  tally(job.counters, 'pending', -#messages)
  tally(job.counters, 'processing', #messages)
  tally(job.counters, 'handed_out', #messages)
  claimed[#claimed + 1] = job.name .. ' ' .. #messages
  reply[#reply + 1] = job.name
  -- newest first, the order in which a replay of the same token reads them from the list
  local newest = {}
  for i = #messages, 1, -1 do newest[#newest + 1] = messages[i] end
  reply[#reply + 1] = newest
end

local function tell(job, word)
  table.insert(reply[4], job.name)
  table.insert(reply[4], word)
end

-- Whether a limited job gives nothing now.
local function is_used_up(job, quota)
  local room = job.asked and room_in(job, quota) or 0
  job.most = math.min(claim.limit, claim.got + room)
  if room > 0 then return false end
  if not job.asked then tell(job, '') elseif job.given then settle_loan(job.stats) end
  wait_at_most(job.asked and POLL or 0)
  if reply[2] == 'empty' then reply[2] = 'limit' end
  return true
end

local function take_from(job, quota)
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
  job.most = claim.limit
  if (quota or job.given) and is_used_up(job, quota) then return end
  wake_delayed(claim, job)
  wake_held(claim, job)
  local messages, turn = look_round(claim, job)
  if #messages > 0 then keep(job, messages) end
  count(job.stats, job.counters)
  if job.given then settle_loan(job.stats) end
  if claim.got < claim.limit then note_wait(job, turn) end
end

local again = replay(claim)
if again then return { 0, '', {}, {}, unpack(again) } end
redis.call('ZADD', KEYS[1], now + claim.lease, claim.worker)
note_time()
for _, job in ipairs(in_order(P, claim.jobs)) do
  job.J = P .. 'job:' .. job.name .. ':'
  job.stats = job.J .. 'stats'
  local found = redis.call('HMGET', job.stats, 'epoch', 'closed', 'quota', 'handed_out')
  job.handed_out = as_number(found[4])
  if found[1] ~= job.epoch then
    table.insert(reply[3], job.name)
  elseif found[2] then
    if found[2] ~= job.told then tell(job, found[2]) end
    if reply[2] == 'empty' then reply[2] = 'closed' end
  elseif claim.got < claim.limit then
    take_from(job, found[3])
  end
end
redis.call('HSET', W, 'token', claim.token, 'claimed', table.concat(claimed, ' '))
if claim.got >= claim.limit then reply[1], reply[2] = 0, '' end
return reply
