/* Between the program and its disk, by LD_PRELOAD: a disk that fails, or the memory of one that lies.
 *
 * SHIM_ROOT=/dir          only what lies below it is touched
 * SHIM_SKIP=/dir/index    and nothing below this
 * SHIM_FAIL=N             the Nth call that changes the disk fails
 * SHIM_ERRNO=5            with this error
 * SHIM_STICKY=1           and every later one that needs room, as on a full disk; the Nth write is half done
 * SHIM_UNREADABLE=/dir    files below this cannot be opened for reading
 * SHIM_LOG=/file          every such call that succeeded, in order, for the one who builds what a power
 *                         cut would leave: lines "C ino path", "W ino offset length" with the bytes behind
 *                         it, "T ino length", "R old<TAB>new", "U path", "M path", "S ino", "D path"
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *skip, *unreadable;
static long fail_at, calls;
static int fail_errno = EIO, sticky, ready, log_fd = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void prepare(void) {
    if (ready) return;
    ready = 1;
    root = getenv("SHIM_ROOT");
    skip = getenv("SHIM_SKIP");
    unreadable = getenv("SHIM_UNREADABLE");
    if (getenv("SHIM_FAIL")) fail_at = atol(getenv("SHIM_FAIL"));
    if (getenv("SHIM_ERRNO")) fail_errno = atoi(getenv("SHIM_ERRNO"));
    sticky = getenv("SHIM_STICKY") != NULL;
    if (getenv("SHIM_LOG"))
        log_fd = REAL(open64)(getenv("SHIM_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int below(const char *path, const char *dir) {
    size_t length = dir ? strlen(dir) : 0;
    return length && strncmp(path, dir, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int ours(const char *path) {
    prepare();
    return root && below(path, root) && !below(path, skip);
}

/* The path of a descriptor that is ours; NULL for any other. */
static const char *path_of(int fd, char *buffer) {
    char link[64];
    prepare();
    if (!root) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    if (length <= 0) return NULL;
    buffer[length] = 0;
    return ours(buffer) ? buffer : NULL;
}

/* Whether this call fails. 2: it is the first that does. Held under `turn`. */
static int fails(const char *what, const char *path, int needs_room) {
    if (!fail_at) return 0;
    calls++;
    if (calls == fail_at) {
        dprintf(2, "shim: call %ld fails: %s %s\n", calls, what, path);
        return 2;
    }
    return sticky && needs_room && calls > fail_at;
}

static void note(const char *line, const void *bytes, size_t length) {
    if (log_fd < 0) return;
    struct iovec parts[2] = {{(void *)line, strlen(line)}, {(void *)bytes, length}};
    size_t want = parts[0].iov_len + length;
    if (REAL(writev)(log_fd, parts, bytes ? 2 : 1) != (ssize_t)want) abort();
}

static void note_text(const char *format, ...) {
    char line[3 * PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    note(line, NULL, 0);
}

static unsigned long inode(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 ? (unsigned long)found.st_ino : 0;
}

static int opened(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    struct stat found;
    prepare();
    if ((flags & O_ACCMODE) == O_RDONLY && below(path, unreadable) && stat(path, &found) == 0 &&
        S_ISREG(found.st_mode)) {
        errno = fail_errno;
        return -1;
    }
    if (!(flags & (O_CREAT | O_TRUNC)) || !ours(path)) return real(path, flags, mode);
    pthread_mutex_lock(&turn);
    int made = access(path, F_OK) != 0, fd = -1;
    if (made && fails("create", path, 1))
        errno = fail_errno;
    else
        fd = real(path, flags, mode);
    int error = errno;
    if (fd >= 0 && made) note_text("C %lu %s\n", inode(fd), path);
    if (fd >= 0 && !made && (flags & O_TRUNC)) note_text("T %lu 0\n", inode(fd));
    errno = error;
    pthread_mutex_unlock(&turn);
    return fd;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = va_arg(arguments, mode_t);                                                   \
        va_end(arguments);                                                                         \
        return opened(REAL(name), path, flags, mode);                                              \
    }
OPEN(open)
OPEN(open64)

static ssize_t written(int fd, const void *bytes, size_t length, off64_t at, const char *path) {
    pthread_mutex_lock(&turn);
    size_t take = length;
    ssize_t done = -1;
    int failing = fails("write", path, 1);
    if (failing == 2 && sticky && length > 1) {
        take = length / 2;
        failing = 0;
    }
    off64_t place = at;
    if (at < 0) place = lseek64(fd, 0, SEEK_CUR);
    if (at < 0 && (fcntl(fd, F_GETFL) & O_APPEND)) place = lseek64(fd, 0, SEEK_END);
    if (failing)
        errno = fail_errno;
    else if (at < 0)
        done = REAL(write)(fd, bytes, take);
    else
        done = REAL(pwrite64)(fd, bytes, take, at);
    int error = errno;
    if (done > 0) {
        char line[128];
        snprintf(line, sizeof line, "W %lu %lld %zd\n", inode(fd), (long long)place, done);
        note(line, bytes, (size_t)done);
    }
    errno = error;
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    char buffer[PATH_MAX];
    const char *path = path_of(fd, buffer);
    return path ? written(fd, bytes, length, -1, path) : REAL(write)(fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    char buffer[PATH_MAX];
    const char *path = path_of(fd, buffer);
    return path ? written(fd, bytes, length, at, path) : REAL(pwrite64)(fd, bytes, length, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return pwrite64(fd, bytes, length, at);
}

static int synced(int (*real)(int), int fd) {
    char buffer[PATH_MAX];
    const char *path = path_of(fd, buffer);
    if (!path) return real(fd);
    pthread_mutex_lock(&turn);
    struct stat found;
    int folder = fstat(fd, &found) == 0 && S_ISDIR(found.st_mode), result = -1;
    if (fails(folder ? "sync folder" : "sync", path, 1))
        errno = fail_errno;
    else
        result = real(fd);
    int error = errno;
    if (result == 0 && folder) note_text("D %s\n", path);
    if (result == 0 && !folder) note_text("S %lu\n", inode(fd));
    errno = error;
    pthread_mutex_unlock(&turn);
    return result;
}

int fsync(int fd) { return synced(REAL(fsync), fd); }
int fdatasync(int fd) { return synced(REAL(fdatasync), fd); }

int ftruncate64(int fd, off64_t length) {
    char buffer[PATH_MAX];
    const char *path = path_of(fd, buffer);
    if (!path) return REAL(ftruncate64)(fd, length);
    pthread_mutex_lock(&turn);
    int result = -1;
    if (fails("truncate", path, 1))
        errno = fail_errno;
    else
        result = REAL(ftruncate64)(fd, length);
    int error = errno;
    if (result == 0) note_text("T %lu %lld\n", inode(fd), (long long)length);
    errno = error;
    pthread_mutex_unlock(&turn);
    return result;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int rename(const char *from, const char *to) {
    if (!ours(from) && !ours(to)) return REAL(rename)(from, to);
    pthread_mutex_lock(&turn);
    int result = -1;
    if (fails("rename to", to, 1))
        errno = fail_errno;
    else
        result = REAL(rename)(from, to);
    int error = errno;
    if (result == 0) note_text("R %s\t%s\n", from, to);
    errno = error;
    pthread_mutex_unlock(&turn);
    return result;
}

int unlink(const char *path) {
    if (!ours(path)) return REAL(unlink)(path);
    pthread_mutex_lock(&turn);
    int result = -1;
    if (fails("unlink", path, 0))
        errno = fail_errno;
    else
        result = REAL(unlink)(path);
    int error = errno;
    if (result == 0) note_text("U %s\n", path);
    errno = error;
    pthread_mutex_unlock(&turn);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    if (!ours(path)) return REAL(mkdir)(path, mode);
    pthread_mutex_lock(&turn);
    int result = -1;
    /* One that is there already changes nothing. */
    if (access(path, F_OK) != 0 && fails("mkdir", path, 1))
        errno = fail_errno;
    else
        result = REAL(mkdir)(path, mode);
    int error = errno;
    if (result == 0) note_text("M %s\n", path);
    errno = error;
    pthread_mutex_unlock(&turn);
    return result;
}
