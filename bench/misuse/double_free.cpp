// CWE-415: a block is released, and released again.
//
// double_free WHEN SIZE API

#include "misuse.h"

static void at_once(Scene &scene) {
    scene.release();
    scene.release();
}

static void after_another(Scene &scene) {
    scene.release();
    scene.api.release(scene.before[1]);
    scene.before[1] = scene.filled(scene.size / 2 + 1);
    scene.release();
}

static void after_work(Scene &scene) {
    scene.release();
    work_on();
    scene.release();
}

static void after_many(Scene &scene) {
    char *blocks[50];
    for (char *&block : blocks) block = scene.filled(scene.size);
    scene.release();
    for (char *block : blocks) scene.api.release(block);
    scene.release();
}

static void in_a_loop(Scene &scene) {
    for (int i = 0; i < 10; i++) scene.release();
}

static void release_it(void *scene) { static_cast<Scene *>(scene)->release(); }

static void first_elsewhere(Scene &scene) {
    in_other_thread(release_it, &scene);
    scene.release();
}

static void then_elsewhere(Scene &scene) {
    scene.release();
    in_other_thread(release_it, &scene);
}

static void both_elsewhere(Scene &scene) {
    in_other_thread(release_it, &scene);
    in_other_thread(release_it, &scene);
}

// The memory may be somebody else's by then, who releases it too.
static void after_reuse(Scene &scene) {
    scene.release();
    char *next = scene.filled(scene.size);
    scene.release();
    scene.api.release(next);
}

static void resized(Scene &scene) {
    scene.release();
    char *block = static_cast<char *>(realloc(scene.block, scene.size * 2));
    scene.block = block;
}

static const Choice<void (*)(Scene &)> whens[] = {
    {"at-once", at_once},
    {"after-another", after_another},
    {"after-work", after_work},
    {"after-many", after_many},
    {"in-a-loop", in_a_loop},
    {"first-elsewhere", first_elsewhere},
    {"then-elsewhere", then_elsewhere},
    {"both-elsewhere", both_elsewhere},
    {"after-reuse", after_reuse},
    {"resized", resized},
};

int main(int, char **arguments) {
    begin();
    Scene scene(named(apis, arguments[3]), number(arguments[2]));
    choice(whens, arguments[1])(scene);
    scene.release_others();
    work_on();
    return 0;
}
