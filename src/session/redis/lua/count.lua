-- One count by the generic cell rate algorithm: `idle` is the microsecond at which it is empty if what is counted comes
-- evenly, `known` the one until which whoever it belongs to is no stranger.
--
-- KEYS: 1 the count. ARGV: 1 what `now` goes by, 2 the step (look, take, back), 3 interval and 4 tolerance of the rate, 5 how
-- long whoever it belongs to is known from now on (0: that stays as it is); all in microseconds.
-- Answers whether they are known, and how long they have to wait: 0, and if that was the step it is counted.
local now, step = now(), ARGV[2]
local interval, tolerance, knows = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local kept = redis.call('HMGET', KEYS[1], 'idle', 'known')
local idle, known = tonumber(kept[1] or 0), tonumber(kept[2] or 0)

-- Never more than what may have been counted by now: other rates, or a clock that was set back, keep nobody out for longer.
local counted = math.min(math.max(idle, now), now + tolerance + interval)
local wait = math.max(counted - now - tolerance, 0)
if step == 'back' then
  idle = idle - interval
elseif step == 'take' and wait == 0 then
  idle = counted + interval
else
  return { known > now and 1 or 0, wait }
end
if knows > 0 then known = now + knows end

-- What says nothing any more is not kept.
local last = math.max(idle, known)
if last <= now then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'idle', string.format('%.0f', idle))
  if known > now then redis.call('HSET', KEYS[1], 'known', string.format('%.0f', known)) end
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((last - now) / 1000)))
end
return { known > now and 1 or 0, wait }
