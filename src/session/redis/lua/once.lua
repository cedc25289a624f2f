-- Notes that a key was used. KEYS: 1 it. ARGV: 1 seconds that time was moved by, 2 its end, 3 who uses it.
local now = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[1])
local known = redis.call('HMGET', KEYS[1], 'until', 'by')
-- The same step once more, whose first outcome was not known, is the first.
if known[1] and now < tonumber(known[1]) and known[2] ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'until', ARGV[2], 'by', ARGV[3])
redis.call('EXPIRE', KEYS[1], math.max(1, tonumber(ARGV[2]) - now))
return 1
