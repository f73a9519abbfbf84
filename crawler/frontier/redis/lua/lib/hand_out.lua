-- needs: message, counters, rules, turns, asking, line, ledger, booking, obstacle, strike
-- Hands out requests of one host, or of the first host in a group's line, if the host may be asked now.
--
-- Gives  ask(claim, job, host, room, is_first), ask_line(claim, job, group, room) → at most `room` messages, now in the
--        worker's processing list. `is_first`: the host was the first in the line of its group
-- Of `claim`: P, worker, now, delay, target, longest, what `booking`, `obstacle` and `strike` take. Of `job`: name, J,
-- counters, pausing.
-- Stays true: a message is in one list; a host and its group have at most their cap in flight, and their turns are at
-- least their delay apart; a host that a lease has to itself (`take.lua`) gives nothing; no host overtakes those in the
-- line of its group.

-- The host's next message, highest priority first; removes empty levels.
local function pop(claim, job, host, levels)
  local pending, processing = job.J .. 'pending:', job.J .. 'processing:' .. claim.worker
  if not levels then return redis.call('RPOPLPUSH', pending .. '0:' .. host, processing) end
  while #levels > 0 do
    local message = redis.call('RPOPLPUSH', pending .. levels[1] .. ':' .. host, processing)
    if message then return message end
    table.remove(levels, 1)
  end
  return false
end

-- Up to `room` of the host's messages, and whether it has `more`, `nothing`, or only `paused` ones, or when to check it
-- again (ms). Bytes that are not a request of this host become dead letters here, because no worker could commit or
-- settle them.
local function take(claim, job, host, room)
  local processing, levels = job.J .. 'processing:' .. claim.worker, levels_of(job.J, host)
  local taken, left = {}, 'more'
  while #taken < room and claim.strikes > 0 do
    local next_one = (job.pausing or is_ruled(claim.P)) and peek(job.J, host)
    local why = next_one and obstacle(claim, job, host, next_one)
    if why and why ~= 'blocked' then left = why break end
    local message = pop(claim, job, host, levels)
    if not message then left = 'nothing' break end
    if why then
      redis.call('LPOP', processing)
      strike(claim, job, host, message, 'spider ' .. (spider_of(message) or ''))
    elseif host_in(message) ~= host then
      redis.call('LPOP', processing)
      strike_junk(claim, job, message, 'bytes in the queue that are not a request of host ' .. host)
    else
      taken[#taken + 1] = message
      if next_one then book_turn(claim.P, 'spider ' .. (spider_of(message) or ''), claim.now) end
    end
  end
  if levels and #levels == 0 then redis.call('HDEL', job.J .. 'levels', host) end
  return taken, left
end

local function ask(claim, job, host, room, is_first)
  local P, J, delay = claim.P, job.J, claim.delay
  if rule(P, 'block host ' .. host) then strike_line(claim, job, host, 'host ' .. host) return {} end
  local own = ledger_of(claim, host)
  if asker_of(P, host) then own.cap = 0 end -- as if full: the end of that lease wakes the jobs that wait
  if not is_free(claim, own) then look_later(claim, job, 'hosts', own) return {} end
  local group = own.group and ledger_of(claim, own.group)
  if group then share_cap(claim, own, group) end
  if group and (not is_free(claim, group)
    or not is_first and redis.call('EXISTS', J .. 'line:' .. group.name) == 1) then
    stand_in_line(claim, job, host, group)
    return {}
  end

  local pace = own.ordered or math.max(delay, adapted(own.latency, claim.target, claim.longest))
  pace = math.max(pace, own.delay)
  local groups_pace = group and shared_pace(claim, own, group) or 0
  room = math.min(room, own.cap - own.inflight, group and group.cap - group.inflight or own.cap)
  if pace > 0 or groups_pace > 0 then room = 1 end
  local taken, left = take(claim, job, host, room)
  if #taken > 0 then
    book(claim, own, #taken, pace)
    if group then book(claim, group, #taken, groups_pace) end
  end
  if left == 'more' then
    look_later(claim, job, 'hosts', own)
  elseif type(left) == 'number' then
    redis.call('ZADD', J .. 'hosts', math.max(left, own.due), host)
  else
    redis.call('ZREM', J .. 'hosts', host)
    if left == 'paused' then redis.call('ZADD', J .. 'held', claim.now + LOOK_AGAIN, host) end
  end
  return taken
end

local function ask_line(claim, job, name, room)
  local group, line, taken = ledger_of(claim, name), job.J .. 'line:' .. name, {}
  if is_free(claim, group) then
    local host = redis.call('ZPOPMIN', line)[1]
    if host then
      tally(job.counters, 'lined', -1)
      taken = ask(claim, job, host, room, true)
      group = ledger_of(claim, name)
    end
  end
  if redis.call('EXISTS', line) == 1 then look_later(claim, job, 'groups', group)
  else redis.call('ZREM', job.J .. 'groups', name) end
  return taken
end
