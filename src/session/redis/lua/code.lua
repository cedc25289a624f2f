-- Keeps an authorization that waits for its code. KEYS: 1 it. ARGV: 1 format, 2 its end, 3 sealed, 4 seconds until it goes.
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'expires', ARGV[2], 'content', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
