// CWE-416: a block is released, then used.
//
// use_after_free HOW SIZE WHEN API THEN

#include "misuse.h"

struct Use {
    char *block;
    size_t size;
    void (*how)(Use &);
};

static void write_first(Use &it) { it.block[0] = 'A'; }
static void write_last(Use &it) { it.block[it.size - 1] = 'A'; }
static void write_all(Use &it) { memset(it.block, 'A', it.size); }

static void write_text(Use &it) {
    char text[8];
    snprintf(text, sizeof text, "%s", "after");
    strcpy(it.block, text);
}

static void count_up(Use &it) { ++*reinterpret_cast<int32_t *>(it.block); }
static void read_first(Use &it) { read_byte(it.block); }
static void read_last(Use &it) { read_byte(it.block + it.size - 1); }

static void read_all(Use &it) {
    for (size_t i = 0; i < it.size; i++) read_byte(it.block + i);
}

static void read_text(Use &it) { sink = strnlen(it.block, it.size) > 3; }

static const Choice<void (*)(Use &)> hows[] = {
    {"write-first", write_first}, {"write-last", write_last}, {"write-all", write_all},
    {"write-text", write_text},   {"count-up", count_up},     {"read-first", read_first},
    {"read-last", read_last},     {"read-all", read_all},     {"read-text", read_text},
};

static void use(void *use) {
    auto *it = static_cast<Use *>(use);
    it->how(*it);
}

static void at_once(Scene &scene, Use &it) {
    scene.release();
    use(&it);
}

static void after_others(Scene &scene, Use &it) {
    scene.release();
    scene.release_others();
    for (char *&other : scene.before) other = scene.filled(scene.size / 3 + 1);
    for (char *&other : scene.behind) other = scene.filled(scene.size / 3 + 1);
    use(&it);
}

static void after_reuse(Scene &scene, Use &it) {
    scene.release();
    char *next = scene.filled(scene.size);
    use(&it);
    scene.api.release(next);
}

static void after_work(Scene &scene, Use &it) {
    scene.release();
    work_on();
    use(&it);
}

static void elsewhere(Scene &scene, Use &it) {
    scene.release();
    in_other_thread(use, &it);
}

static void released_elsewhere(Scene &scene, Use &it) {
    in_other_thread([](void *scene) { static_cast<Scene *>(scene)->release(); }, &scene);
    use(&it);
}

// The block moves, an old pointer to it remains.
static void after_resize(Scene &scene, Use &it) {
    char *next = scene.filled(scene.size * 3);
    memcpy(next, scene.block, scene.size);
    scene.release();
    scene.block = next;
    use(&it);
    scene.release();
}

static const Choice<void (*)(Scene &, Use &)> whens[] = {
    {"at-once", at_once},
    {"after-others", after_others},
    {"after-reuse", after_reuse},
    {"after-work", after_work},
    {"elsewhere", elsewhere},
    {"released-elsewhere", released_elsewhere},
    {"after-resize", after_resize},
};

// What the program does until it ends.
static void goes_on(Scene &scene) {
    scene.release_others();
    char *blocks[100];
    for (char *&block : blocks) block = scene.filled(scene.size);
    for (char *block : blocks) scene.api.release(block);
    work_on();
}

static void releases_others(Scene &scene) { scene.release_others(); }
static void ends(Scene &) {}

static const Choice<void (*)(Scene &)> thens[] = {
    {"goes-on", goes_on}, {"releases-others", releases_others}, {"ends", ends},
};

int main(int, char **arguments) {
    begin();
    Scene scene(named(apis, arguments[4]), number(arguments[2]));
    Use it{scene.block, scene.size, choice(hows, arguments[1])};
    choice(whens, arguments[3])(scene, it);
    choice(thens, arguments[5])(scene);
    return 0;
}
