-- needs: message, counters
-- Dead letters.
--
-- Gives  bury(J, message, record, now) stores one; `record` is a JSON object without its time. → 1, or 0 if a letter
--        with the same bytes existed
--        own_record(message, kind, why, worker) → the record of a letter that a script writes by itself
--        bury_junk(J, message, record, now, counters) stores and counts bytes that are not a request
-- Stays true: junk was put into the queue by hand, so it is admitted and ended in the same step; the same bytes are the
-- same letter, and are not counted again.

local function bury(J, message, record, now)
  local id = string.sub(redis.sha1hex(message), 1, LETTER_ID)
  return redis.call('HSET', J .. 'dead', id, '{"died":' .. string.format('%d', now) .. ',' .. string.sub(record, 2))
end

local function own_record(message, kind, why, worker)
  local _, _, attempt = read(message)
  return cjson.encode({
    attempts = tonumber(attempt or 0), worker = worker, message = message,
    failure = { kind = kind, message = why },
  })
end

local function bury_junk(J, message, record, now, counters)
  if bury(J, message, record, now) == 0 then return end
  for _, name in ipairs({ 'known', 'admitted', 'dead', 'finished', 'dead/junk' }) do tally(counters, name) end
end
