-- needs: clock, message, counters, letters, line, ledger, alike, later, failing
-- processing → pending, for a dead or silent worker: its requests go back to the front of their hosts' lines, and the
-- turns that it has of groups at home here end.
--
-- KEYS  1 P workers
-- ARGV  1 as MessagePack, by name:
--         P
--         worker       '': any worker whose lease has expired
--         max_crashes  crashes after which a request is dead
--         budget       requests to move, and turns to end, at most
--         share and least: share and number of pages that must fail alike before their host or spider is paused
--         blame        the request that killed the worker (nil: unknown): job, kind (retry|dead), delay ms, failure
--                      (words)
--       2 its message   3 its new message, or its record   (only with `blame`)
-- Returns {} if there is nothing to reap, else { worker, requeued, dead, 1 if some are left else 0 }.
-- Stays true: each message moves once, however many reapers run, because it leaves the processing list in the
-- same step; a worker that sends a heartbeat before this runs keeps its requests.

local reap = cmsgpack.unpack(ARGV[1])
local P, worker, blame = reap.P, reap.worker, reap.blame
local seen_dying = worker ~= ''
local now = now_ms()
if not seen_dying then
  worker = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)[1]
  if not worker then return {} end
end
local W = P .. 'worker:' .. worker
local requeued, dead = 0, 0

local function back_to_pending(J, message, delay, counters)
  put_back(J, message, now, delay)
  tally(counters, 'pending')
  requeued = requeued + 1
end

local function to_dead(J, message, record, counters)
  bury(J, message, record, now)
  waits_no_more(J, message, counters)
  fails_no_more(J, message)
  for _, name in ipairs({ 'dead', 'finished', 'dead/crash' }) do tally(counters, name) end
  dead = dead + 1
end

local function move(J, message, is_blamed, counters)
  local host = host_in(message)
  if not host then -- pushed by hand, so no counter includes it
    local why = 'bytes in a processing list that are not a request'
    bury_junk(J, message, own_record(message, 'junk', why, worker), now, counters)
    return
  end
  local _, _, _, crashes = read(message)
  if is_blamed and blame.kind == 'dead' then
    to_dead(J, message, ARGV[3], counters)
  elseif is_blamed then
    back_to_pending(J, ARGV[3], blame.delay, counters)
    tally(counters, 'retried')
    note_failing(J, message, blame.failure, now)
  elseif not seen_dying and crashes + 1 >= reap.max_crashes then
    local why = 'its worker and supervisor were gone after each of ' .. reap.max_crashes .. ' deliveries'
    to_dead(J, message, own_record(message, 'crash', why, worker), counters)
  else
    back_to_pending(J, redelivered(message, seen_dying and 0 or 1), 0, counters)
  end
  if is_blamed then watch(J, host, message, 'crash', blame.failure, reap, now) end
  tally(counters, 'processing', -1)
  tally(counters, 'reaped')
  settle(P, host, now, { asked = now }) -- the worker may have asked the host a moment ago
end

for _, job in ipairs(redis.call('SMEMBERS', W .. ':jobs')) do
  local J = P .. 'job:' .. job .. ':'
  local processing, counters = J .. 'processing:' .. worker, {}
  while reap.budget > 0 do
    local message = redis.call('LPOP', processing)
    if not message then break end
    reap.budget = reap.budget - 1
    move(J, message, blame and job == blame.job and message == ARGV[2], counters)
  end
  if redis.call('EXISTS', J .. 'stats') == 1 then count(J .. 'stats', counters) end
end
local turns = redis.call('HRANDFIELD', W .. ':turns', reap.budget, 'WITHVALUES')
for at = 1, #turns, 2 do
  reap.budget = reap.budget - 1
  redis.call('HDEL', W .. ':turns', turns[at])
  settle_group(P, turns[at + 1], now, now)
end
if reap.budget > 0 then
  redis.call('ZREM', KEYS[1], worker)
  redis.call('DEL', W, W .. ':jobs')
end
return { worker, requeued, dead, reap.budget > 0 and 0 or 1 }
