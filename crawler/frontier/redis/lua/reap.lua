-- processing → pending, for a worker that is gone: its requests go back to the front of their hosts' lines.
--
-- KEYS  1 P workers
-- ARGV  1 P   2 worker ('': any whose lease has expired)   3 crashes after which a request is dead
--       4 requests to move at most
--       5 share and 6 number of pages that fail alike before their host or spider is paused
--       then, with a worker, the request it died of: 7 job ('': none)   8 message   9 kind (retry|dead)
--       10 delay ms   11 new message or record
-- Returns {} when there is nothing to reap, else { worker, requeued, dead, 1 when some are left }.
-- Stays true: each message moves once, however many reapers run, because it leaves the processing list in the
-- same step; a worker that beats again before this runs is not touched.

local P, worker, max_crashes, budget = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local blame_job, blamed = ARGV[7] or '', ARGV[8]
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
  counters['pending'] = (counters['pending'] or 0) + 1
  requeued = requeued + 1
end

local function to_dead(J, message, record, counters, kind)
  bury(J, message, record, now)
  for _, name in ipairs({ 'dead', 'finished', 'dead/' .. kind }) do counters[name] = (counters[name] or 0) + 1 end
  dead = dead + 1
end

local function move(J, message, is_blamed, counters)
  local _, _, _, crashes, _, url = read(message)
  if not (url and host_of(url)) then -- pushed by hand: nobody has counted it
    bury_junk(J, message, own_record(message, 'junk', 'bytes in a processing list that are no request', worker), now, counters)
    return
  end
  if is_blamed and ARGV[9] == 'dead' then
    to_dead(J, message, ARGV[11], counters, 'crash')
  elseif is_blamed then
    back_to_pending(J, ARGV[11], tonumber(ARGV[10]), counters)
    counters['retried'] = (counters['retried'] or 0) + 1
  elseif not seen_dying and crashes + 1 >= max_crashes then
    local why = 'the machine of its worker was gone after each of ' .. max_crashes .. ' deliveries'
    to_dead(J, message, own_record(message, 'crash', why, worker), counters, 'crash')
  else
    back_to_pending(J, redelivered(message, seen_dying and 0 or 1), 0, counters)
  end
  if is_blamed then watch(J, host_of(url), message, 'crash', tonumber(ARGV[5]), tonumber(ARGV[6]), now) end
  counters['processing'] = (counters['processing'] or 0) - 1
  counters['reaped'] = (counters['reaped'] or 0) + 1
  settle(P, host_of(url), now, now, nil, nil, 0) -- it may have been asked a moment ago
end

for _, job in ipairs(redis.call('SMEMBERS', W .. ':jobs')) do
  local J = P .. 'job:' .. job .. ':'
  local processing, counters = J .. 'processing:' .. worker, {}
  while budget > 0 do
    local message = redis.call('LPOP', processing)
    if not message then break end
    budget = budget - 1
    move(J, message, job == blame_job and message == blamed, counters)
  end
  if redis.call('EXISTS', J .. 'stats') == 1 then count(J .. 'stats', counters) end
end
if budget > 0 then
  redis.call('ZREM', KEYS[1], worker)
  redis.call('DEL', W, W .. ':jobs')
end
return { worker, requeued, dead, budget > 0 and 0 or 1 }
