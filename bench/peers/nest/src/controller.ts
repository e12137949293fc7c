import { Body, Controller, Post, UseGuards } from '@nestjs/common';
import { IsNotEmpty, IsString, MaxLength } from 'class-validator';
import { MayWrite } from './auth';
import { NotificationGateway } from './gateway';
import { Store } from './store';

export class Draft {
  @IsString() @IsNotEmpty() @MaxLength(255) title: string;
  @IsString() @IsNotEmpty() @MaxLength(4000) message: string;
  @IsString() @IsNotEmpty() @MaxLength(128) created_by: string;
}

@Controller('notifications')
export class NotificationController {
  constructor(
    private readonly store: Store,
    private readonly gateway: NotificationGateway,
  ) {}

  @Post()
  @UseGuards(MayWrite)
  async create(@Body() draft: Draft) {
    const item = await this.store.insert(draft);
    this.gateway.notify(draft.created_by, item);
    return { message: 'Notificación creada correctamente', id: item.id };
  }
}
