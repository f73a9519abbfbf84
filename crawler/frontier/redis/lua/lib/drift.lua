-- needs: message, number, coverage
-- Notices that the items of a callback lack a field that they had before, and pauses the callback.
--
-- Gives  close_windows(J, limits, now) counts the full windows and judges each: `limits` holds drift_share and
--        drift_min; returns one sentence for each callback that it paused
--        close_paused(J, callback, now) counts the windows of a callback that is paused
--        begin_past(J, callback, now) does the same, and lets the past begin now to which later windows are compared
-- Stays true: a window is counted once; a callback is paused when the share of items with a field has fallen by more
-- than chance allows (`allowed_fall`); the pages of that window and later ones that lack such a field are in
-- `incomplete`.

local function callback_in(key)
  return string.match(key, '^(.*)\t') or key
end

-- How far the share of a field may fall in a window: chance makes the shares of few pages differ.
local function allowed_fall(before, pages, window, drift_share)
  local deviation = math.sqrt(before * (1 - before) * (1 / window + 1 / pages))
  return math.max(drift_share * before, DRIFT_SIGMAS * deviation)
end

-- The fields that have fallen: name → words. Each of the pages has an item; a share falls by itself at most, so with a
-- drift_share of 1 none falls.
local function fallen_fields(record, lately, limits)
  local fallen, found = {}, false
  local items, pages = record.items - record.first_items, record.pages - record.first_pages
  if pages < DRIFT_PAST * limits.drift_min then return nil end
  for name, field in pairs(record.fields) do
    local filled, now_filled = field.total - field.first, (lately.fields[name] or { total = 0 }).total
    local before, share = filled / items, now_filled / lately.items
    if before - share > allowed_fall(before, pages, lately.pages, limits.drift_share) then
      fallen[name] = string.format('in %d of %d items, before in %d of %d', now_filled, lately.items, filled, items)
      found = true
    end
  end
  return found and fallen
end

local function lacks(page, names)
  for name in pairs(names) do
    if filled_in(page, name) < as_number(page.counts.items) then return true end
  end
  return false
end

-- Remembers the pages to fetch again, and returns them.
local function keep_incomplete(J, callback, pages, names)
  local kept, found = J .. 'incomplete:' .. callback, {}
  for _, page in ipairs(pages) do
    if lacks(page, names) then
      found[#found + 1] = page
      local keys, message = keys_and_message(page)
      local is_whole = string.sub(message, -1) == ']'
      if is_whole and redis.call('HLEN', kept) < INCOMPLETE_KEPT and redis.call('HSETNX', kept, message, keys) == 1 then
        redis.call('HINCRBY', J .. 'stats', 'incomplete/' .. callback, 1)
      end
    end
  end
  return found
end

local function sorted_names(names)
  local found = {}
  for name in pairs(names) do found[#found + 1] = name end
  table.sort(found)
  return found
end

-- What a person must know: the fields with their figures, and pages that lack them.
local function sentence(fallen, pages)
  local words, urls = {}, {}
  for _, name in ipairs(sorted_names(fallen)) do words[#words + 1] = name .. ' is filled ' .. fallen[name] end
  for i = 1, math.min(#pages, LACKING_SHOWN) do
    local _, message = keys_and_message(pages[i])
    urls[i] = string.sub(url_of(message) or '', 1, LACKING_BYTES)
  end
  local said = table.concat(words, '; ', 1, math.min(#words, DRIFTS_NAMED))
  if #words > DRIFTS_NAMED then said = said .. string.format('; %d more fields', #words - DRIFTS_NAMED) end
  said = string.gsub(said .. ', for example ' .. table.concat(urls, ' '), '%c', ' ')
  return said
end

local function is_callback_paused(J, callback)
  return redis.call('HEXISTS', J .. 'paused', 'callback ' .. callback) == 1
end

-- Counts the pages of a window. Returns why its callback is paused from now on, if it is.
local function close_window(J, key, limits, now)
  local callback, pages, record = callback_in(key), take_window(J, key), coverage_record(J, key)
  local lately, why = { items = 0, pages = 0, others = 0, fields = {}, size = 0 }, nil
  add_pages(lately, pages)
  if is_callback_paused(J, callback) then
    keep_incomplete(J, callback, pages, object(redis.call('HGET', J .. 'drifted', key) or ''))
  else
    local fallen = fallen_fields(record, lately, limits)
    if fallen then
      redis.call('HSET', J .. 'drifted', key, cjson.encode(fallen))
      why = sentence(fallen, keep_incomplete(J, callback, pages, fallen))
      redis.call('HSETNX', J .. 'paused', 'callback ' .. callback, string.format('%d ', now) .. why)
      why = callback .. ': ' .. why
    end
  end
  add_pages(record, pages)
  show_lacking(J, key, record, pages)
  store_coverage(J, key, record)
  return why
end

local function close_windows(J, limits, now)
  local found = {}
  for _, key in ipairs(full_windows(limits.drift_min)) do
    found[#found + 1] = close_window(J, key, limits, now)
  end
  return found
end

local function keys_of(J, callback)
  local found = {}
  for _, key in ipairs(redis.call('HKEYS', J .. 'coverage')) do
    if callback_in(key) == callback then found[#found + 1] = key end
  end
  return found
end

local function close_paused(J, callback, now)
  if not is_callback_paused(J, callback) then return end
  for _, key in ipairs(keys_of(J, callback)) do close_window(J, key, nil, now) end
end

local function begin_past(J, callback, now)
  close_paused(J, callback, now)
  for _, key in ipairs(keys_of(J, callback)) do
    local record = coverage_record(J, key)
    record.first_items, record.first_pages = record.items, record.pages
    for _, field in pairs(record.fields) do field.first = field.total end
    store_coverage(J, key, record)
  end
end
