/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
#ifndef TAPGATE_BUCKET_H
#define TAPGATE_BUCKET_H

/* Takes a token from a bucket that gets one each interval: it is full at
 * `*full`, and has none left when that is more than `depth` away. */
static __always_inline bool take_token(__u64 *full, __u64 now, __u64 interval, __u64 depth)
{
	for (int i = 0; i < 4; i++) {
		__u64 seen = *(volatile __u64 *)full, next = seen > now ? seen : now;

		if (next - now > depth)
			return false;
		if (__sync_val_compare_and_swap(full, seen, next + interval) == seen)
			return true;
	}
	return false;
}

#endif
