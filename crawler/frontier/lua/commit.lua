-- processing → done | pending | dead, by what each visit found out: items and acknowledgement in one step.
--
-- KEYS  1 J processing:W
-- ARGV  1 P   2 worker   3 job   4 epoch   5 token   6 delay ms (between requests to a host that asked for none)
--       7 share and 8 number of pages that fail alike before their host or spider is paused
--       then for each lease 14 values: kind (done|skip|retry|release|aside|dead|junk), message, host, age ms of the
--       request to the host (-1: none was made), pause ms, host delay ms (-1: as before), status, size in bytes,
--       delay ms before it may be handed out again, counters to raise (`name n name n`), number of items, the
--       items as JSON lines, what it says about host and spider (see `watch`), then
--       skip: the reason, a line break, its detail | retry, release, aside: the new message | dead, junk: the record
-- Returns a string with 1 for each lease committed and 0 for each that was not ours any more; or the error GONE.
-- Stays true: what is acknowledged here has its items in the outbox; what is 0 changed nothing; the same token
-- returns the same string and does nothing.

local P, worker, job, epoch, token, pace = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local share, least = tonumber(ARGV[7]), tonumber(ARGV[8])
local J = P .. 'job:' .. job .. ':'
local W = P .. 'worker:' .. worker
local stats = J .. 'stats'
local last = redis.call('HMGET', W, 'commit', 'reply')
if last[1] == token then return last[2] end
if gone(stats, epoch) then return redis.error_reply('GONE') end

local now = now_ms()
local counters = {}
local function add(name, by) counters[name] = (counters[name] or 0) + by end

local function finish(state)
  add(state, 1)
  add('finished', 1)
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

local replies = {}
for at = 9, #ARGV, 14 do
  local kind, message, host, age = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local pause, host_delay = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local status, size = ARGV[at + 6], tonumber(ARGV[at + 7])
  local delay, n, payload = tonumber(ARGV[at + 8]), tonumber(ARGV[at + 10]), ARGV[at + 13]
  if redis.call('LREM', KEYS[1], 1, message) == 1 then
    add('processing', -1)
    if status ~= '' then add('status/' .. status, 1) end
    if size > 0 then add('bytes', size) end
    for name, times in string.gmatch(ARGV[at + 9], '(%S+) (%d+)') do add(name, tonumber(times)) end
    apply[kind](message, delay, payload)
    if n > 0 then
      redis.call('XADD', J .. 'outbox', '*', 'i', ARGV[at + 11])
      add('items', n)
    end
    watch(J, host, message, ARGV[at + 12], share, least, now)
    local asked = age >= 0 and now - age or nil
    settle(P, host, now, asked, pace, host_delay >= 0 and host_delay or nil, pause > 0 and now + pause or 0)
    replies[#replies + 1] = '1'
  else
    add('fenced', 1)
    replies[#replies + 1] = '0'
  end
end
count(stats, counters)
local reply = table.concat(replies)
redis.call('HSET', W, 'commit', token, 'reply', reply)
return reply
