/* The inner loops of byte pairs, for builds with a C compiler.

   The rest of the package works without this module, with the same ids: each function has a twin in Python, which the
   tests compare it with.

     gather(cache, chunks)  chunk_cache.py: joined(map(cache.__getitem__, chunks))
     Merger                 byte_level.py: the ids of the words of a chunk
     ChunkTable             chunk_cache.py: TokenCache, of chunks that it cuts; see compiled_chunks.c */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef unsigned char byte;

/* --- Bytes of ASCII ------------------------------------------------------------------------------------------------ */

enum kind { OTHER, LETTER, DIGIT, SPACE };

static unsigned char kinds[256];

static void set_kinds(void)
{
    for (int c = 'a'; c <= 'z'; c++) kinds[c] = kinds[c - 'a' + 'A'] = LETTER;
    for (int c = '0'; c <= '9'; c++) kinds[c] = DIGIT;
    for (const char *c = " \t\n\r\f\v"; *c; c++) kinds[(byte)*c] = SPACE;
}

/* Where bytes of one kind end that start at `at`. */
static Py_ssize_t end_of(enum kind kind, const byte *data, Py_ssize_t at, Py_ssize_t size)
{
    while (at < size && kinds[data[at]] == kind) at++;
    return at;
}

/* --- Chunks -------------------------------------------------------------------------------------------------------- */

/* Append the ids of a chunk to a list. */
static int append_cached(PyObject *ids, PyObject *cache, PyObject *chunk)
{
    PyObject *found = PyDict_GetItemWithError(cache, chunk);
    if (found) Py_INCREF(found);
    else if (PyErr_Occurred() || !(found = PyObject_GetItem(cache, chunk))) return -1; /* which computes it */
    int is_tuple = PyTuple_Check(found), failed = !is_tuple;
    for (Py_ssize_t i = 0; !failed && i < PyTuple_GET_SIZE(found); i++)
        failed = PyList_Append(ids, PyTuple_GET_ITEM(found, i)) < 0;
    Py_DECREF(found);
    if (!is_tuple) PyErr_SetString(PyExc_TypeError, "the ids of a chunk must be a tuple");
    return failed ? -1 : 0;
}

static PyObject *gather(PyObject *module, PyObject *arguments)
{
    PyObject *cache, *chunks, *chunk;
    if (!PyArg_ParseTuple(arguments, "O!O:gather", &PyDict_Type, &cache, &chunks)) return NULL;
    PyObject *each = PyObject_GetIter(chunks);
    if (!each) return NULL;
    PyObject *ids = PyList_New(0);
    while (ids && (chunk = PyIter_Next(each))) {
        if (append_cached(ids, cache, chunk) < 0) Py_CLEAR(ids);
        Py_DECREF(chunk);
    }
    if (PyErr_Occurred()) Py_CLEAR(ids);
    Py_DECREF(each);
    return ids;
}

/* --- Rules --------------------------------------------------------------------------------------------------------- */

#define LONGEST 256    /* bytes of a word that is merged here: the time grows with their square */
#define SEPARATOR 0xff /* stands between words; no byte of UTF-8 */
#define NONE UINT32_MAX

typedef struct {
    uint32_t first, second, rank;
} Rule;

typedef struct {
    PyObject_HEAD
    uint32_t symbols[256]; /* the id of each byte; NONE where the vocabulary lacks it */
    Rule *rules;           /* a hash table with open addressing; a rank of NONE marks a free slot */
    uint32_t mask;         /* of its indices */
    uint64_t used[1 << 14];/* a bit for each hash of a rule: most pairs have no rule, and these stay in the caches */
    uint32_t *merged;      /* what each rule makes, by its rank */
    PyObject *numbers;     /* ids as Python's numbers, which all results share */
    PyObject *otherwise;   /* the ids of a word that is not merged here: too long, or with a byte without a symbol */
} Merger;

static uint64_t hash_of(uint32_t first, uint32_t second)
{
    return ((uint64_t)first << 32 | second) * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / the golden ratio */
}

#define ENTRY(hash) ((hash) >> 50)
#define BIT(hash) (UINT64_C(1) << ((hash) >> 44 & 63))

/* The slot of a rule, or the free one where it would stand. */
static Rule *slot_of(const Merger *self, uint64_t hash, uint32_t first, uint32_t second)
{
    uint32_t index = (uint32_t)(hash >> 32) & self->mask;
    Rule *rule;
    while ((rule = self->rules + index)->rank != NONE && (rule->first != first || rule->second != second))
        index = (index + 1) & self->mask;
    return rule;
}

/* The number of the rule for a pair, NONE where there is none. */
static uint32_t rank_of(const Merger *self, uint32_t first, uint32_t second)
{
    uint64_t hash = hash_of(first, second);
    return self->used[ENTRY(hash)] & BIT(hash) ? slot_of(self, hash, first, second)->rank : NONE;
}

/* Merge symbols in place: by the first rule that applies, the leftmost pair, until none applies.  Returns how many
   remain. */
static Py_ssize_t merge(const Merger *self, uint32_t *symbols, Py_ssize_t size)
{
    uint32_t ranks[LONGEST]; /* of the rule for each symbol and the next */
    for (Py_ssize_t i = 0; i + 1 < size; i++) ranks[i] = rank_of(self, symbols[i], symbols[i + 1]);
    while (size > 1) {
        uint32_t rank = NONE;
        for (Py_ssize_t i = 0; i + 1 < size; i++) rank = ranks[i] < rank ? ranks[i] : rank;
        if (rank == NONE) break;
        Py_ssize_t at = 0;
        while (ranks[at] != rank) at++;
        size--;
        symbols[at] = self->merged[rank];
        memmove(symbols + at + 1, symbols + at + 2, (size_t)(size - at - 1) * sizeof *symbols);
        memmove(ranks + at, ranks + at + 1, (size_t)(size - at - 1) * sizeof *ranks);
        if (at > 0) ranks[at - 1] = rank_of(self, symbols[at - 1], symbols[at]);
        if (at + 1 < size) ranks[at] = rank_of(self, symbols[at], symbols[at + 1]);
    }
    return size;
}

/* Append the ids of a word to a list. */
static int append_word(const Merger *self, PyObject *ids, const byte *word, Py_ssize_t size)
{
    uint32_t symbols[LONGEST];
    int is_merged_here = size <= LONGEST;
    for (Py_ssize_t i = 0; is_merged_here && i < size; i++)
        is_merged_here = (symbols[i] = self->symbols[word[i]]) != NONE;
    if (!is_merged_here) {
        PyObject *found = PyObject_CallFunction(self->otherwise, "y#", (const char *)word, size);
        int failed = !found || PyList_SetSlice(ids, PyList_GET_SIZE(ids), PyList_GET_SIZE(ids), found) < 0;
        Py_XDECREF(found);
        return failed ? -1 : 0;
    }
    size = merge(self, symbols, size);
    for (Py_ssize_t i = 0; i < size; i++)
        if (PyList_Append(ids, PyList_GET_ITEM(self->numbers, symbols[i])) < 0) return -1;
    return 0;
}

/* Where the word in ASCII ends that starts at `start`: what WORD of byte_level.py matches there. */
static Py_ssize_t word_end(const byte *data, Py_ssize_t start, Py_ssize_t size)
{
    Py_ssize_t first = start + (data[start] == ' '); /* of the word without its space */
    if (first == size || kinds[data[first]] == SPACE) {
        Py_ssize_t end = end_of(SPACE, data, start, size);
        return end < size && end > start + 1 ? end - 1 : end; /* the last of several belongs to what follows */
    }
    if (data[start] == '\'' && start + 1 < size) { /* a contraction */
        byte next = data[start + 1], last = start + 2 < size ? data[start + 2] : 0;
        if (next == 's' || next == 't' || next == 'm' || next == 'd') return start + 2;
        if ((next == 'r' && last == 'e') || (next == 'v' && last == 'e') || (next == 'l' && last == 'l'))
            return start + 3;
    }
    return end_of(kinds[data[first]], data, first, size);
}

static PyObject *ids_of(const Merger *self, PyObject *text, int is_separated)
{
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(text, &data, &size) < 0) return NULL;
    const byte *words = (byte *)data;
    PyObject *ids = PyList_New(0);
    for (Py_ssize_t start = 0, end; ids && start < size; start = end + is_separated) {
        end = start;
        if (is_separated) while (end < size && words[end] != SEPARATOR) end++;
        else end = word_end(words, start, size);
        if (append_word(self, ids, words + start, end - start) < 0) Py_CLEAR(ids);
    }
    PyObject *found = ids ? PyList_AsTuple(ids) : NULL;
    Py_XDECREF(ids);
    return found;
}

static PyObject *Merger_ids_of_ascii(PyObject *self, PyObject *text) { return ids_of((Merger *)self, text, 0); }

static PyObject *Merger_ids_of_words(PyObject *self, PyObject *words) { return ids_of((Merger *)self, words, 1); }

/* --- The type of rules --------------------------------------------------------------------------------------------- */

/* Read ids from a list, NONE for None; counts the largest, plus one. */
static int read_ids(PyObject *list, uint32_t *ids, Py_ssize_t size, uint32_t *count)
{
    if (PyList_GET_SIZE(list) != size) return PyErr_SetString(PyExc_ValueError, "lists of other lengths"), -1;
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        unsigned long id = item == Py_None ? NONE : PyLong_AsUnsignedLong(item);
        if (PyErr_Occurred()) return -1;
        if (id > INT32_MAX && item != Py_None) return PyErr_SetString(PyExc_OverflowError, "an id is too large"), -1;
        ids[i] = (uint32_t)id;
        if (item != Py_None && id >= *count) *count = (uint32_t)id + 1;
    }
    return 0;
}

/* Fill the table of rules, and the list of numbers. */
static int set_rules(Merger *self, PyObject *symbols, PyObject *firsts, PyObject *seconds, PyObject *merged)
{
    Py_ssize_t size = PyList_GET_SIZE(firsts);
    size_t slots = 2;
    while (slots < 2 * (size_t)size) slots *= 2;
    uint32_t count = 0;
    uint32_t *pairs = PyMem_Calloc(2 * (size_t)size + 1, sizeof *pairs);
    self->merged = PyMem_Calloc((size_t)size + 1, sizeof *self->merged);
    self->rules = PyMem_Malloc(slots * sizeof *self->rules);
    if (!pairs || !self->merged || !self->rules) return PyMem_Free(pairs), PyErr_NoMemory(), -1;
    memset(self->rules, 0xff, slots * sizeof *self->rules);
    self->mask = (uint32_t)(slots - 1);
    int failed = read_ids(symbols, self->symbols, 256, &count) < 0 || read_ids(firsts, pairs, size, &count) < 0
                 || read_ids(seconds, pairs + size, size, &count) < 0 || read_ids(merged, self->merged, size, &count) < 0;
    for (Py_ssize_t rank = 0; !failed && rank < size; rank++) {
        Rule rule = {pairs[rank], pairs[size + rank], (uint32_t)rank};
        uint64_t hash = hash_of(rule.first, rule.second);
        self->used[ENTRY(hash)] |= BIT(hash);
        *slot_of(self, hash, rule.first, rule.second) = rule;
    }
    PyMem_Free(pairs);
    self->numbers = failed ? NULL : PyList_New(count);
    for (uint32_t id = 0; self->numbers && id < count; id++) {
        PyObject *number = PyLong_FromUnsignedLong(id);
        if (!number || PyList_SetItem(self->numbers, id, number) < 0) Py_CLEAR(self->numbers);
    }
    return self->numbers ? 0 : -1;
}

static PyObject *Merger_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *symbols, *firsts, *seconds, *merged, *otherwise;
    if (!PyArg_ParseTuple(arguments, "O!O!O!O!O:Merger", &PyList_Type, &symbols, &PyList_Type, &firsts, &PyList_Type,
                          &seconds, &PyList_Type, &merged, &otherwise))
        return NULL;
    Merger *self = (Merger *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    Py_INCREF(otherwise);
    self->otherwise = otherwise;
    if (set_rules(self, symbols, firsts, seconds, merged) < 0) Py_CLEAR(self);
    return (PyObject *)self;
}

static int Merger_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Merger *)self)->numbers);
    Py_VISIT(((Merger *)self)->otherwise);
    return 0;
}

static void Merger_dealloc(PyObject *object)
{
    Merger *self = (Merger *)object;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->numbers);
    Py_XDECREF(self->otherwise);
    PyMem_Free(self->rules);
    PyMem_Free(self->merged);
    type->tp_free(self);
    Py_DECREF(type);
}

static int Merger_clear(PyObject *self)
{
    Py_CLEAR(((Merger *)self)->otherwise); /* of which cycles may be made; numbers refer to nothing */
    return 0;
}

static PyMethodDef merger_methods[] = {
    {"ids_of_ascii", Merger_ids_of_ascii, METH_O, "The ids of a text in ASCII."},
    {"ids_of_words", Merger_ids_of_words, METH_O, "The ids of words, with the byte 255 between them."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot merger_slots[] = {
    {Py_tp_doc, "The rules of byte pairs."},
    {Py_tp_new, Merger_new},
    {Py_tp_traverse, Merger_traverse},
    {Py_tp_clear, Merger_clear},
    {Py_tp_dealloc, Merger_dealloc},
    {Py_tp_methods, merger_methods},
    {0, NULL},
};
static PyType_Spec merger_spec = {
    .name = "registry.tokenization.compiled.Merger",
    .basicsize = sizeof(Merger),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = merger_slots,
};

/* --- The module ---------------------------------------------------------------------------------------------------- */

PyObject *registry_chunk_table(void); /* the type, of compiled_chunks.c */

static int add(PyObject *module, PyObject *type)
{
    int failed = !type || PyModule_AddType(module, (PyTypeObject *)type) < 0;
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

static int fill(PyObject *module)
{
    set_kinds();
    return add(module, PyType_FromSpec(&merger_spec)) < 0 || add(module, registry_chunk_table()) < 0 ? -1 : 0;
}

static PyMethodDef functions[] = {
    {"gather", gather, METH_VARARGS, "The ids of all chunks, in a list."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "registry.tokenization.compiled",
    .m_doc = "The inner loops of byte pairs.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit_compiled(void) { return PyModuleDef_Init(&definition); }
