/* SPDX-License-Identifier: Apache-2.0
 *
 * compile/room.c: where kernels put what they prepare.
 */
#include "compile/plan.h"

void soma_prepare_room_open(soma_prepare_room *room, soma *s)
{
    soma_arena_init(&room->arena, s);
    room->cleanups = NULL;
}

void soma_prepare_room_close(soma_prepare_room *room)
{
    for (; room->cleanups; room->cleanups = room->cleanups->next) /* they lie in the arena */
        room->cleanups->destroy(room->cleanups->object);
    soma_arena_free(&room->arena);
}

void *soma_prepare_state(soma_prepare *p, size_t size)
{
    return soma_arena_alloc(&p->room->arena, size);
}

soma_status soma_prepare_cleanup(soma_prepare *p, void (*destroy)(void *), void *object)
{
    soma_cleanup *c = soma_arena_alloc(&p->room->arena, sizeof *c);
    if (!c) {
        destroy(object);
        return SOMA_MEMORY;
    }
    *c = (soma_cleanup){p->room->cleanups, destroy, object};
    p->room->cleanups = c;
    return SOMA_OK;
}
