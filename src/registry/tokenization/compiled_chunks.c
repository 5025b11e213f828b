/* A cache of the ids of chunks, for builds with a C compiler: compiled.c adds it to its module.

   ChunkTable(tokenize, room, weight, longest) does what a TokenCache of chunk_cache.py does with the chunks of WIDE_CHUNK
   of plugins/gpt2/tokenization.py: it cuts bytes into chunks, computes each once, and drops what was not met lately.  It
   makes no object of a chunk that it has, and reads 32 bytes of memory for most. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef unsigned char byte;

/* --- Cutting ------------------------------------------------------------------------------------------------------- */

static int is_space(byte c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Whether white space outside ASCII ends at `end`: the text is not cut between it and white space in ASCII. */
static int ends_wide_space(const byte *data, Py_ssize_t end)
{
    byte last = data[end - 1], before = end > 1 ? data[end - 2] : 0, first = end > 2 ? data[end - 3] : 0;
    if (before == 0xc2) return last == 0x85 || last == 0xa0;
    if (first == 0xe1) return before == 0x9a && last == 0x80;
    if (first == 0xe3) return before == 0x80 && last == 0x80;
    if (first != 0xe2) return 0;
    if (before == 0x81) return last == 0x9f;
    return before == 0x80 && last >= 0x80 && (last <= 0x8a || last == 0xa8 || last == 0xa9 || last == 0xaf);
}

/* Where the chunk ends that starts at `at`: white space, then other bytes. */
static Py_ssize_t chunk_end(const byte *data, Py_ssize_t at, Py_ssize_t size)
{
    do {
        while (at < size && is_space(data[at])) at++;
        while (at < size && !is_space(data[at])) at++;
    } while (at < size && data[at - 1] >= 0x80 && ends_wide_space(data, at));
    return at;
}

/* --- A table of chunks --------------------------------------------------------------------------------------------- */

#define SHORT 16 /* bytes of a chunk that stands in its entry */
#define FEW 2    /* ids that do */
#define MOST_NUMBERS (1 << 22)

typedef struct {
    uint32_t hash;
    uint16_t size, count; /* bytes, 0 for a free entry; ids */
    uint64_t words[2];    /* the chunk, filled up with zeros; of a longer one where it stands in `bytes` */
    uint32_t ids[FEW];    /* or, if there are more, where they stand in `ids` */
} Entry;

typedef struct {
    Entry *entries; /* a hash table with open addressing, at most half full; NULL when empty */
    uint32_t mask, used;
    byte *bytes;
    uint32_t *ids;
    size_t bytes_size, bytes_room, ids_size, ids_room;
    Py_ssize_t room; /* what further chunks may weigh */
} Generation;

typedef struct {
    const byte *data;
    Py_ssize_t size;
    uint32_t hash;
    uint64_t words[2];
} Chunk;

typedef struct {
    PyObject_HEAD
    PyObject *tokenize;
    PyObject **numbers; /* ids as Python's numbers, which all lists share; NULL where one was not needed yet */
    uint32_t numbers_size;
    uint64_t seed;
    Py_ssize_t room, weight, longest;
    Generation young, old;
} ChunkTable;

typedef struct {
    uint32_t *ids;
    size_t size, room;
} Ids;

static uint64_t mixed(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / the golden ratio */
    return hash ^ hash >> 32;
}

/* A chunk of `size` bytes, behind which the text has some more: `readable` together. */
static void read_chunk(Chunk *chunk, uint64_t seed, const byte *data, Py_ssize_t size, Py_ssize_t readable)
{
    static const uint64_t masks[2 * SHORT / 8] = {UINT64_MAX, UINT64_MAX, 0, 0};
    uint64_t hash = seed ^ (uint64_t)size, word, mask[2];
    chunk->data = data;
    chunk->size = size;
    chunk->words[0] = chunk->words[1] = 0;
    if (size <= SHORT && readable >= SHORT) { /* two words are read at once, in a third of the time */
        memcpy(chunk->words, data, SHORT);
        memcpy(mask, (const byte *)masks + SHORT - size, SHORT);
        for (int i = 0; i < 2; i++) chunk->words[i] &= mask[i];
    } else if (size <= SHORT) memcpy(chunk->words, data, (size_t)size);
    if (size <= SHORT) {
        hash = mixed(mixed(hash, chunk->words[0]), chunk->words[1]);
    } else {
        for (Py_ssize_t at = 0; at < size; at += 8) {
            memcpy(&word, data + (at + 8 <= size ? at : size - 8), 8);
            hash = mixed(hash, word);
        }
    }
    chunk->hash = (uint32_t)hash;
}

/* The entry of a chunk, or the free one where it would stand. */
static Entry *entry_of(const Generation *in, const Chunk *chunk)
{
    for (uint32_t index = chunk->hash & in->mask;; index = (index + 1) & in->mask) {
        Entry *entry = in->entries + index;
        if (!entry->size) return entry;
        if (entry->hash != chunk->hash || entry->size != chunk->size) continue;
        if (chunk->size > SHORT ? !memcmp(in->bytes + entry->words[0], chunk->data, (size_t)chunk->size)
                                : entry->words[0] == chunk->words[0] && entry->words[1] == chunk->words[1])
            return entry;
    }
}

static void free_generation(Generation *generation)
{
    PyMem_Free(generation->entries);
    PyMem_Free(generation->bytes);
    PyMem_Free(generation->ids);
    memset(generation, 0, sizeof *generation);
}

/* Make room for `more` items behind `size`; returns whether there is. */
static int has_room(void **items, size_t item, size_t size, size_t more, size_t *room)
{
    if (size + more <= *room) return 1;
    size_t wanted = 2 * (size + more) + 64;
    void *grown = PyMem_Realloc(*items, wanted * item);
    if (!grown) return 0;
    *items = grown;
    *room = wanted;
    return 1;
}

/* Double the table where it is half full; returns whether there is room for an entry. */
static int has_free_entry(Generation *in)
{
    if (in->entries && 2 * (in->used + 1) <= in->mask) return 1;
    uint32_t slots = in->entries ? 2 * (in->mask + 1) : 1024;
    Entry *entries = PyMem_Calloc(slots, sizeof *entries);
    if (!entries) return 0;
    for (uint32_t i = 0; in->entries && i <= in->mask; i++) {
        if (!in->entries[i].size) continue;
        uint32_t index = in->entries[i].hash & (slots - 1);
        while (entries[index].size) index = (index + 1) & (slots - 1);
        entries[index] = in->entries[i];
    }
    PyMem_Free(in->entries);
    in->entries = entries;
    in->mask = slots - 1;
    return 1;
}

/* Keep the ids of a chunk, unless memory is short. */
static void keep(ChunkTable *self, const Chunk *chunk, const uint32_t *ids, size_t count)
{
    if (chunk->size > self->longest || count > UINT16_MAX) return;
    Generation *in = &self->young;
    in->room -= self->weight + chunk->size;
    if (in->room < 0) {
        free_generation(&self->old);
        self->old = *in;
        memset(in, 0, sizeof *in);
        in->room = self->room - self->weight - chunk->size;
    }
    size_t bytes = chunk->size > SHORT ? (size_t)chunk->size : 0, further = count > FEW ? count : 0;
    if (!has_free_entry(in) || !has_room((void **)&in->bytes, 1, in->bytes_size, bytes, &in->bytes_room)
        || !has_room((void **)&in->ids, sizeof *ids, in->ids_size, further, &in->ids_room))
        return;
    Entry *entry = entry_of(in, chunk);
    if (entry->size) return; /* it was computed meanwhile, by another thread */
    entry->hash = chunk->hash;
    entry->size = (uint16_t)chunk->size;
    entry->count = (uint16_t)count;
    memcpy(entry->words, chunk->words, sizeof entry->words);
    if (bytes) entry->words[0] = in->bytes_size, memcpy(in->bytes + in->bytes_size, chunk->data, bytes);
    if (further) entry->ids[0] = (uint32_t)in->ids_size, memcpy(in->ids + in->ids_size, ids, further * sizeof *ids);
    else memcpy(entry->ids, ids, count * sizeof *ids);
    in->bytes_size += bytes;
    in->ids_size += further;
    in->used++;
}

/* --- Ids of a text ------------------------------------------------------------------------------------------------- */

static int append_entry(Ids *to, const Generation *in, const Entry *entry)
{
    if (!has_room((void **)&to->ids, sizeof *to->ids, to->size, entry->count, &to->room)) return PyErr_NoMemory(), -1;
    const uint32_t *ids = entry->count > FEW ? in->ids + entry->ids[0] : entry->ids;
    for (size_t i = 0; i < entry->count; i++) to->ids[to->size++] = ids[i];
    return 0;
}

/* Append what `tokenize` makes of a chunk. */
static int append_computed(ChunkTable *self, Ids *to, const Chunk *chunk)
{
    PyObject *found = PyObject_CallFunction(self->tokenize, "y#", (const char *)chunk->data, chunk->size);
    if (!found) return -1;
    int failed = !PyTuple_Check(found);
    if (failed) PyErr_SetString(PyExc_TypeError, "the ids of a chunk must be a tuple");
    size_t count = failed ? 0 : (size_t)PyTuple_GET_SIZE(found);
    if (!failed && !has_room((void **)&to->ids, sizeof *to->ids, to->size, count, &to->room))
        failed = 1, PyErr_NoMemory();
    for (size_t i = 0; !failed && i < count; i++) {
        unsigned long id = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(found, i));
        failed = PyErr_Occurred() != NULL;
        if (!failed && id > INT32_MAX) failed = 1, PyErr_SetString(PyExc_OverflowError, "an id is too large");
        to->ids[to->size++] = (uint32_t)id;
    }
    Py_DECREF(found);
    return failed ? -1 : 0;
}

static int append_chunk(ChunkTable *self, Ids *to, const byte *data, Py_ssize_t size, Py_ssize_t readable)
{
    Chunk chunk;
    read_chunk(&chunk, self->seed, data, size, readable);
    Entry *entry = self->young.entries ? entry_of(&self->young, &chunk) : NULL;
    if (entry && entry->size) return append_entry(to, &self->young, entry);
    size_t before = to->size;
    entry = self->old.entries ? entry_of(&self->old, &chunk) : NULL;
    if ((entry && entry->size ? append_entry(to, &self->old, entry) : append_computed(self, to, &chunk)) < 0) return -1;
    keep(self, &chunk, to->ids + before, to->size - before);
    return 0;
}

/* The ids of all chunks of a text; those of a failure are freed. */
static int ids_of(ChunkTable *self, PyObject *text, Ids *found)
{
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(text, &data, &size) < 0) return -1;
    for (Py_ssize_t start = 0, end; start < size; start = end) {
        end = chunk_end((byte *)data, start, size);
        if (append_chunk(self, found, (byte *)data + start, end - start, size - start) < 0)
            return PyMem_Free(found->ids), -1;
    }
    return 0;
}

/* An id as Python's number. */
static PyObject *number_of(ChunkTable *self, uint32_t id)
{
    if (id >= self->numbers_size && id < MOST_NUMBERS) {
        uint32_t size = 1024;
        while (size <= id) size *= 2;
        PyObject **numbers = PyMem_Realloc(self->numbers, size * sizeof *numbers);
        if (!numbers) return PyErr_NoMemory();
        memset(numbers + self->numbers_size, 0, (size - self->numbers_size) * sizeof *numbers);
        self->numbers = numbers;
        self->numbers_size = size;
    }
    if (id >= self->numbers_size) return PyLong_FromUnsignedLong(id);
    if (!self->numbers[id] && !(self->numbers[id] = PyLong_FromUnsignedLong(id))) return NULL;
    Py_INCREF(self->numbers[id]);
    return self->numbers[id];
}

static PyObject *ChunkTable_list_of(PyObject *object, PyObject *text)
{
    ChunkTable *self = (ChunkTable *)object;
    Ids found = {NULL, 0, 0};
    if (ids_of(self, text, &found) < 0) return NULL;
    PyObject *list = PyList_New((Py_ssize_t)found.size);
    for (size_t i = 0; list && i < found.size; i++) {
        PyObject *number = number_of(self, found.ids[i]);
        if (number) PyList_SET_ITEM(list, (Py_ssize_t)i, number);
        else Py_CLEAR(list);
    }
    PyMem_Free(found.ids);
    return list;
}

static PyObject *ChunkTable_bytes_of(PyObject *object, PyObject *text)
{
    Ids found = {NULL, 0, 0};
    if (ids_of((ChunkTable *)object, text, &found) < 0) return NULL;
    PyObject *packed = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(found.size * sizeof(int64_t)));
    char *to = packed ? PyBytes_AS_STRING(packed) : NULL;
    for (size_t i = 0; packed && i < found.size; i++, to += sizeof(int64_t)) {
        int64_t id = found.ids[i];
        memcpy(to, &id, sizeof id);
    }
    PyMem_Free(found.ids);
    return packed;
}

/* --- The type ------------------------------------------------------------------------------------------------------ */

static PyObject *ChunkTable_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *tokenize, *word;
    Py_ssize_t room, weight, longest;
    if (!PyArg_ParseTuple(arguments, "Onnn:ChunkTable", &tokenize, &room, &weight, &longest)) return NULL;
    if (longest > UINT16_MAX) return PyErr_SetString(PyExc_OverflowError, "longest is too large"), NULL;
    if (!(word = PyBytes_FromString("seed"))) return NULL;
    ChunkTable *self = (ChunkTable *)type->tp_alloc(type, 0);
    if (self) {
        self->seed = (uint64_t)PyObject_Hash(word); /* another one in each process, as for Python's dictionaries */
        self->room = self->young.room = room;
        self->weight = weight;
        self->longest = longest;
        Py_INCREF(tokenize);
        self->tokenize = tokenize;
    }
    Py_DECREF(word);
    return (PyObject *)self;
}

static int ChunkTable_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((ChunkTable *)self)->tokenize);
    return 0;
}

static int ChunkTable_clear(PyObject *self)
{
    Py_CLEAR(((ChunkTable *)self)->tokenize); /* of which cycles may be made; numbers refer to nothing */
    return 0;
}

static void ChunkTable_dealloc(PyObject *object)
{
    ChunkTable *self = (ChunkTable *)object;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->tokenize);
    for (uint32_t id = 0; id < self->numbers_size; id++) Py_XDECREF(self->numbers[id]);
    PyMem_Free(self->numbers);
    free_generation(&self->young);
    free_generation(&self->old);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"list_of", ChunkTable_list_of, METH_O, "The ids of a text in UTF-8, in a list."},
    {"bytes_of", ChunkTable_bytes_of, METH_O, "The same as 64-bit integers, as they lie in memory."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_doc, "A cache of the ids of chunks."},
    {Py_tp_new, ChunkTable_new},
    {Py_tp_traverse, ChunkTable_traverse},
    {Py_tp_clear, ChunkTable_clear},
    {Py_tp_dealloc, ChunkTable_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};
static PyType_Spec spec = {
    .name = "registry.tokenization.compiled.ChunkTable",
    .basicsize = sizeof(ChunkTable),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

PyObject *registry_chunk_table(void) { return PyType_FromSpec(&spec); }
