/* SPDX-License-Identifier: MIT */
#include "os/pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/iov.h"
#include "base/log.h"
#include "base/wr.h"

#define MAGIC_NSEC 0xa1b23c4d /* in the byte order of the writer */
#define SNAPLEN 262144
#define LINKTYPE_ETHERNET 1
#define BUF_SIZE (256u << 10)

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, sigfigs;
	uint32_t snaplen;
	uint32_t linktype;
};

struct record_header {
	uint32_t sec, nsec;
	uint32_t captured, len;
};

struct pcap {
	int fd; /* -1 after an error */
	struct wr buf;
	uint8_t bytes[BUF_SIZE];
};

struct pcap *pcap_new(void)
{
	void *p = mmap(NULL, sizeof(struct pcap), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void pcap_free(struct pcap *p)
{
	if (p)
		munmap(p, sizeof(*p));
}

static void pcap_begin(struct pcap *p, int fd)
{
	struct file_header h = { .magic = MAGIC_NSEC, .major = 2, .minor = 4, .snaplen = SNAPLEN, .linktype = LINKTYPE_ETHERNET };

	p->fd = fd;
	p->buf = wr_init(p->bytes, sizeof(p->bytes));
	wr_bytes(&p->buf, &h, sizeof(h));
	pcap_flush(p);
}

int pcap_open(struct pcap *p, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	pcap_begin(p, fd);
	return 0;
}

int pcap_open_fd(struct pcap *p, int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || (flags & O_ACCMODE) == O_RDONLY)
		return -EINVAL;
	pcap_begin(p, fd);
	return 0;
}

static int write_all(int fd, const uint8_t *buf, size_t len)
{
	struct wr todo = wr_init((void *)buf, len);

	while (wr_left(&todo)) {
		ssize_t n = write(fd, todo.p + todo.pos, wr_left(&todo));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			wr_put(&todo, (size_t)n);
	}
	return 0;
}

void pcap_flush(struct pcap *p)
{
	int err = p->fd >= 0 ? write_all(p->fd, p->bytes, wr_len(&p->buf)) : 0;

	p->buf = wr_init(p->bytes, sizeof(p->bytes));
	if (err) {
		log_warn("The packet capture ends here, it can't be written: %s", strerror(-err));
		close(p->fd);
		p->fd = -1;
	}
}

void pcap_frame(struct pcap *p, const struct iovec *iov, unsigned n)
{
	size_t len = iov_len(iov, n);
	struct record_header h;
	struct timespec now;
	uint8_t *to;

	if (p->fd < 0 || len > SNAPLEN - sizeof(h))
		return;
	if (wr_left(&p->buf) < sizeof(h) + len)
		pcap_flush(p);
	clock_gettime(CLOCK_REALTIME, &now);
	h = (struct record_header){ (uint32_t)now.tv_sec, (uint32_t)now.tv_nsec, (uint32_t)len, (uint32_t)len };
	wr_bytes(&p->buf, &h, sizeof(h));
	to = wr_put(&p->buf, len);
	if (to)
		iov_copy_out(iov, n, 0, to, len);
}

void pcap_close(struct pcap *p)
{
	if (!p)
		return;
	pcap_flush(p);
	if (p->fd >= 0)
		close(p->fd);
	madvise(p, sizeof(*p), MADV_DONTNEED);
}
