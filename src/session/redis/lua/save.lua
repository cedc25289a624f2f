-- Replaces a document. KEYS: 1 it. ARGV: 1 version that is expected, 2 its content, sealed, 3 channel, 4 name.
local known = redis.call('HMGET', KEYS[1], 'v', 'version')
if known[1] and tonumber(known[1]) ~= 1 then return redis.error_reply('FORMAT ' .. known[1]) end
if tonumber(known[2] or 0) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'v', 1, 'version', ARGV[1] + 1, 'content', ARGV[2])
redis.pcall('PUBLISH', ARGV[3], ARGV[4])
return 1
