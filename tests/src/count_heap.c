// SPDX-License-Identifier: BSD-2-Clause
// Preloaded into a daemon by a test: counts what it takes from the heap, in the file that HEAP_COUNT names. Both of its
// processes count there. glibc alone has the functions behind these.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static unsigned long *counted;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("HEAP_COUNT");
	int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *shared = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *counted, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	if (shared == MAP_FAILED)
		abort();
	close(file);
	counted = shared;
}

static void count(void)
{
	if (counted)
		__atomic_add_fetch(counted, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *calloc(size_t count_of, size_t size)
{
	count();
	return __libc_calloc(count_of, size);
}

void *realloc(void *old, size_t size)
{
	count();
	return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	count();
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **place, size_t alignment, size_t size)
{
	count();
	*place = __libc_memalign(alignment, size);
	return *place ? 0 : ENOMEM;
}
