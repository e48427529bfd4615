/* pyrunc-init: what its parts share. */
#ifndef PYRUNC_INIT_H
#define PYRUNC_INIT_H

#include "init_plan.h"
#include "sys.h"

struct init {
  struct plan plan;
  const struct plan_step *at; /* the step that runs */
  uint32_t step;              /* its index */
  int peer;                   /* who hears of failures: the parent, after GATE `start`; -1: nobody */
  int root;                   /* the rootfs' root, -1: not there yet */
  int proc;                   /* a procfs that is one, -1: not there yet */
  int devpts;                 /* the container's devpts, -1: none */
  int parent;                 /* directory of the last device or link, -1: none */
  uint32_t parent_step;       /* the step that used it */
  const char *parent_path;    /* a path that begins with it, */
  size_t parent_size;         /* for so many bytes */
  int cgroups;                /* the mount with MOUNT_CGROUPS, -1: none */
  int retired_from;           /* retire(): descriptors that wait to be closed, */
  uint64_t retired;           /* bit n: retired_from + n */
  uint64_t nofile;            /* RLIMIT_NOFILE + 1, 0: not yet known */
  int masks;                  /* our tmpfs with one empty directory and file, -1: not there */
  unsigned umask;             /* what the user's process gets */
  bool masks_attached;        /* the kernel is too old to clone it otherwise */
  bool trace;                 /* tell the peer when each step begins */
  bool early;                 /* before GATE: the peer takes warnings */
  bool pivoted;
  bool prepared;    /* prepare_exec() was done */
  char *executable; /* PATH_SIZE bytes; LOOKUP puts the path there */
  char *home;       /* PATH_SIZE bytes; HOME puts "HOME=..." there */
};

/* Arguments of the step that runs. The decoder has checked them. */
static inline uint64_t number(const struct init *c, int i) { return c->at->arg[i]; }
static inline const char *text(const struct init *c, int i) { return plan_text(&c->plan, c->at->arg[i]); }
static inline uint32_t text_size(const struct init *c, int i) { return (uint32_t)c->at->arg[i]; }
static inline int descriptor(const struct init *c, int i) { return plan_fd(&c->plan, c->at->arg[i]); }

/* init.c */
int send_message(struct init *c, const struct plan_message *message, const char *body, int fd);
int receive_message(int fd, struct plan_message *message);
int send_descriptor(int socket, const void *body, size_t size, const char *more, int fd);
_Noreturn void fail(struct init *c, int detail, long error, int64_t value, const char *body);
/* Close a descriptor, a little later. */
void retire(struct init *c, int fd);
void close_retired(struct init *c);
void warn(struct init *c, int detail, long error, int64_t value, const char *body);
/* The result when it is no error, else fail(). */
long must(struct init *c, long result, int detail, const char *body);
void write_all(struct init *c, int fd, const char *bytes, size_t size, const char *subject);
const char **make_vector(struct init *c, int argument, const char *when_empty);
unsigned decimal(char *out, uint64_t value);

/* "." or ".." */
static inline bool is_dots(const char *name) {
  return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

/* init_gate.c */
void step_sync(struct init *c);
void step_gate(struct init *c);

/* init_exec.c */
void step_lookup(struct init *c);
void step_seccomp(struct init *c);
void step_exec(struct init *c);

/* init_path.c: descriptors (O_PATH) or -errno; those without -errno fail the step */
int open_root(struct init *c);
int open_in_root(struct init *c, const char *path, uint64_t flags);
int open_or_make(struct init *c, const char *path, uint64_t flags, bool file);
int open_existing(struct init *c, const char *path); /* -1: nothing is there */
int destination(struct init *c, const char *path, bool file);
int open_parent(struct init *c, const char *path, const char **leaf);

/* init_procfs.c */
int open_procfs(struct init *c);
int find_procfs(struct init *c); /* -errno when there is none */
int private_procfs(void);
void step_sysctl(struct init *c);
void step_proc_write(struct init *c);

/* init_root.c */
void step_propagate(struct init *c);
void step_rootfs(struct init *c);
void step_root_readonly(struct init *c);
void step_root_propagation(struct init *c);
void step_pivot(struct init *c);
void step_chroot(struct init *c);

/* init_mount.c */
void attach(struct init *c, int tree, int onto, const char *path);
void set_attributes(struct init *c, int fd, uint64_t set, uint64_t clear, bool recursive, const char *path);
void set_propagation(struct init *c, int fd, uint64_t propagation, const char *path);
/* "key=value" or "key" */
long set_parameter(int context, const char *parameter);
int clone_tree(struct init *c, int fd, const char *path, unsigned recursive);
int clone_path(struct init *c, const char *path, unsigned recursive);
void step_mount(struct init *c);
void step_remount(struct init *c);
void step_bind(struct init *c);
void step_cgroup_bind(struct init *c);
void step_cgroup_seal(struct init *c);

/* init_hide.c: the tmpfs of masks, and its steps */
/* parameter: as set_parameter() takes it, or "" */
void make_masks(struct init *c, const char *parameter);
void attach_masks(struct init *c);
void release_masks(struct init *c);
void step_mask(struct init *c);
void step_readonly(struct init *c);

/* init_device.c */
void step_mknod(struct init *c);
void step_bind_device(struct init *c);
void step_symlink(struct init *c);

/* init_console.c */
void step_console(struct init *c);

/* init_copy.c: what is in the directory `from` into the root of a tree; own: its own owner and mode too.
 * path: for errors */
void copy_up(struct init *c, int from, int tree, bool own, const char *path);

/* init_namespaces.c */
void step_cgroup_join(struct init *c);
void step_setns(struct init *c);
void step_fork(struct init *c);
void step_unshare(struct init *c);
void step_time_namespace(struct init *c);
void step_loopback(struct init *c);
void step_hostname(struct init *c);
void step_domainname(struct init *c);

/* init_identity.c */
void step_become_root(struct init *c);
void step_bounding(struct init *c);
void step_setgroups(struct init *c);
void step_setids(struct init *c);
void step_capabilities(struct init *c);
void step_ambient(struct init *c);
void step_no_new_privileges(struct init *c);

/* init_limits.c */
void step_scheduler(struct init *c);
void step_io_priority(struct init *c);
void step_affinity(struct init *c);
void step_memory_policy(struct init *c);
void step_rlimit(struct init *c);

/* init_process.c */
void step_keyring(struct init *c);
void step_personality(struct init *c);
void step_stdio_owner(struct init *c);
void step_setsid(struct init *c);
void step_umask(struct init *c);
void step_chdir(struct init *c);

/* init_home.c */
void step_home(struct init *c);

/* init_hook.c */
void step_hook(struct init *c);

#endif
